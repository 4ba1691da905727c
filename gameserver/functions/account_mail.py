"""Sends the mail with codes to players by Amazon SES."""

from __future__ import annotations

import structlog

from gameserver.functions.account_codes import CodePurpose
from gameserver.runtime.aws import AwsClients, error_code
from gameserver.runtime.settings import Settings

log = structlog.get_logger()

_SUBJECTS = {
    CodePurpose.CONFIRMATION: "Confirm your e-mail address",
    CodePurpose.RESET: "Choose a new password",
}
_TEXTS = {
    CodePurpose.CONFIRMATION: (
        "Your confirmation code is {code}.\n\n"
        "Enter the code in the game within 12 hours. If you have not created an account, ignore this mail.\n"
    ),
    CodePurpose.RESET: (
        "Your code for a new password is {code}.\n\n"
        "Enter the code in the game within 30 minutes. If you have not asked for a new password, ignore this mail, and "
        "your password stays as it is.\n"
    ),
}


class Mailer:
    """Sends mail to players.

    Args:
        settings: settings of the process. Without `mail_sender`, no mail is sent.
        aws: clients of AWS.
    """

    def __init__(self, settings: Settings, aws: AwsClients) -> None:
        self._settings = settings
        self._aws = aws

    @property
    def enabled(self) -> bool:
        """Return whether the process sends mail."""
        return bool(self._settings.mail_sender)

    async def send_code(self, purpose: CodePurpose, email: str, code: str) -> None:
        """Send a code to an address. If SES does not accept the mail, the log has the cause, without the address.

        The player gets the answer of a sent mail also if SES refuses the mail, because another answer would show that
        the address has an account. SES's refusals, for example while the account is in SES's sandbox, are listed at
        https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html
        """
        settings = self._settings
        request = {
            "FromEmailAddress": settings.mail_sender,
            "Destination": {"ToAddresses": [email]},
            "Content": {
                "Simple": {
                    "Subject": {"Data": f"{settings.project}: {_SUBJECTS[purpose]}", "Charset": "UTF-8"},
                    "Body": {"Text": {"Data": _TEXTS[purpose].format(code=code), "Charset": "UTF-8"}},
                }
            },
            **({"ConfigurationSetName": name} if (name := settings.mail_configuration_set) else {}),
        }

        def send() -> str:
            from botocore.exceptions import BotoCoreError, ClientError

            try:
                self._aws.mail.send_email(**request)
            except (BotoCoreError, ClientError) as error:
                return error_code(error) or type(error).__name__
            return ""

        if cause := await self._aws.run(send):
            log.warning("code_not_sent", cause=cause)
