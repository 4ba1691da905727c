"""Checks that players get the mail with codes, without which no new account can be confirmed."""

from __future__ import annotations

from collections.abc import Iterator

from mjctl.health.model import AWS_CHECK_SECONDS, Check, Finding, RegionContext, failed, passed, warned
from mjctl.models.check import Severity
from mjctl.models.contract import Contract

# https://docs.aws.amazon.com/cognito/latest/developerguide/quotas.html
_COGNITO_MAILS = 50
_QUOTA_WARN = 0.8


def checks(contract: Contract) -> Iterator[Check]:
    """Yield the check of the mail to players, for a region on AWS. A local region sends no mail."""
    if contract.managed is not None:
        yield Check("mail", check_mail, AWS_CHECK_SECONDS, Severity.MAJOR)


async def check_mail(context: RegionContext) -> Finding:
    """Check that the user pool sends by SES, that SES is not in its sandbox, and that the sender is verified."""
    contract = context.contract
    pool_id = contract.identity.user_pool_id
    # All regions use the user pool of one region, whose name is the first part of the pool's id.
    home = pool_id.partition("_")[0]
    pool = await context.clients.call_in(home, "cognito-idp", "describe_user_pool", UserPoolId=pool_id)
    sender = pool["UserPool"].get("EmailConfiguration", {})
    if sender.get("EmailSendingAccount") != "DEVELOPER":
        return warned(
            f"the user pool sends at most {_COGNITO_MAILS} mails a day, because it does not use SES",
            hint=f"`mjctl deploy --env {contract.environment} --region {contract.region}` sets the sender",
        )
    account = await context.clients.call_in(home, "sesv2", "get_account")
    if not account.get("ProductionAccessEnabled"):
        # https://docs.aws.amazon.com/ses/latest/dg/request-production-access.html
        return failed(
            f"SES is in its sandbox in {home}, so it sends mail only to verified addresses",
            hint="request production access, which AWS grants within a day: `aws sesv2 put-account-details "
            f"--region {home} --production-access-enabled --mail-type TRANSACTIONAL --website-url https://<domain>`",
        )
    if not account.get("SendingEnabled"):
        return failed(
            f"SES does not send mail in {home}: the state of the account is {account.get('EnforcementStatus')}",
            hint="AWS has written a mail about the account's bounces and complaints: answer it in the support console",
        )
    domain = str(sender.get("SourceArn", "")).rpartition("/")[2]
    identity = await context.clients.call_in(home, "sesv2", "get_email_identity", EmailIdentity=domain)
    if not identity.get("VerifiedForSendingStatus"):
        status = identity.get("DkimAttributes", {}).get("Status")
        return failed(
            f"SES has not verified {domain}: the status of its DKIM records is {status}",
            hint=f"check that the parent zone delegates to the zone of {domain}: `dig +short NS {domain}`",
            dkim=status,
        )
    quota = account.get("SendQuota", {})
    limit, sent = float(quota.get("Max24HourSend") or 0), float(quota.get("SentLast24Hours") or 0)
    evidence = {"sent_last_24_hours": sent, "max_24_hours": limit}
    # SES reports -1 for an account without a quota.
    if limit > 0 and sent >= _QUOTA_WARN * limit:
        return warned(
            f"SES has sent {sent:.0f} of at most {limit:.0f} mails in 24 hours",
            hint=f"request a higher quota for SES's sending in {home} in the console of Service Quotas",
            **evidence,
        )
    return passed(f"SES sends mail as {domain}", **evidence)
