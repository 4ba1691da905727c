"""Collects the mails and text messages that Cognito, SES and SNS of the emulated AWS send."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from mjctl.sandbox.correction import wrap
from mjctl.sandbox.outbox import MessageLog, SentMessage
from mjctl.sandbox.stage.context import StageContext
from mjctl.sandbox.stage.layout import mail_file


class Mail:
    """Writes each mail and text message to the outbox of the stage."""

    def __init__(self, context: StageContext) -> None:
        self._outbox = MessageLog(mail_file(context.folder))

    def install(self) -> None:
        """Collect each mail when it is sent. The method `look` collects all other messages."""
        from ministack.services import ses, ses_v2

        def make(original: Callable[..., Any]) -> Callable[..., Any]:
            def send(*arguments: Any, **options: Any) -> Any:
                identifier = original(*arguments, **options)
                self._collect(ses._sent_emails_list()[-1:])
                return identifier

            return send

        def make_newer(original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
            async def handle(*arguments: Any, **options: Any) -> Any:
                answer = await original(*arguments, **options)
                self._collect(ses._sent_emails_list()[-1:])
                return answer

            return handle

        wrap(ses, "_record_send", make)
        wrap(ses_v2, "handle_request", make_newer)

    def look(self) -> None:
        """Collect the mails and text messages that were sent since the last call of `look`."""
        from ministack.services import ses, sns

        for records in list(ses._sent_emails._data.values()):
            self._collect(records)
        for key, records in list(sns._sms_messages._data.items()):
            for record in list(records):
                self._outbox.add(
                    SentMessage(
                        id=record["MessageId"],
                        sent_at=time.time(),
                        sender="",
                        to=(record.get("PhoneNumber") or str(key[-1]),),
                        subject="",
                        text=record["Message"],
                        kind="SMS",
                    )
                )

    def close(self) -> None:
        """Collect the last messages."""
        self.look()

    def _collect(self, records: list[dict[str, Any]]) -> None:
        for record in list(records):
            self._outbox.add(
                SentMessage(
                    id=record["MessageId"],
                    sent_at=record["Timestamp"],
                    sender=record["Source"] or "",
                    to=(*record.get("To", []), *record.get("CC", []), *record.get("BCC", [])),
                    subject=record.get("RenderedSubject") or record.get("Subject") or "",
                    text=record.get("RenderedBodyText")
                    or record.get("BodyText")
                    or record.get("RenderedBodyHtml")
                    or record.get("BodyHtml")
                    or "",
                    kind=record["Type"],
                )
            )
