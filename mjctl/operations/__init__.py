"""Operations that need several services. Services do not import each other, so only this package combines services."""
