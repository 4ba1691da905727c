"""Operations that need several services. Services do not import each other, so they are joined here, and only here."""
