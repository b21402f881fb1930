"""Secrets of twenty and more kinds, none of them real: planted in telemetry, found nowhere.

`CANARIES` are as people leave them in messages; `SECRETS` the part that must not be there.
"""

from __future__ import annotations

SECRETS = {
    "OpenAI key": "sk-proj-c4n4ryAAAABBBBCCCC1111",
    "Anthropic key": "sk-ant-api03-c4n4ryAAAABBBB_CCCC2222",
    "AWS access key": "AKIAC4N4RYAAAABBBB33",
    "GitHub token": "ghp_c4n4ryAAAABBBBCCCCDDDD4444",
    "Slack token": "xoxb-555555555-c4n4ryAAAA",
    "Google key": "AIzaSyC4n4ryAAAABBBBCCCCDDDDEEEE66666",
    "Hugging Face token": "hf_c4n4ryAAAABBBBCCCC7777",
    "Stripe key": "sk_live_c4n4ryAAAABBBBCCCC8888",
    "JSON Web Token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjNG40cnkifQ.c4n4ry9999",
    "bearer token": "c4n4ryopaque0000token",
    "cookie": "c4n4rysession1111",
    "password in a URL": "c4n4rypass2222",
    "password": "c4n4ryword3333",
    "API key in JSON": "c4n4ryvalue4444",
    "private key": "MIIEc4n4ryAAAABBBB5555",
    "signed URL": "c4n4rysignature6666",
    "option of a command": "c4n4ryoption7777",
    "key of a storage account": "c4n4ryAccount8888",
    "webhook": "c4n4ryhook9999",
    "escaped JSON": "c4n4ryescaped0000",
    "pair of a header": "c4n4ryheader1111",
}

CANARIES = SECRETS | {
    "bearer token": f"Authorization: Bearer {SECRETS['bearer token']}",
    "cookie": f"Set-Cookie: sid={SECRETS['cookie']}; HttpOnly",
    "password in a URL": f"postgresql://app:{SECRETS['password in a URL']}@db.test/mlops",
    "password": f"password={SECRETS['password']}",
    "API key in JSON": f'{{"api_key": "{SECRETS["API key in JSON"]}"}}',
    "private key": f"-----BEGIN PRIVATE KEY-----\n{SECRETS['private key']}\n"
    "-----END PRIVATE KEY-----",
    "signed URL": f"https://b.test/x?X-Amz-Expires=9&X-Amz-Signature={SECRETS['signed URL']}&y=1",
    "option of a command": f"psql --db-password {SECRETS['option of a command']} -h db",
    "key of a storage account": f"Name=a;AccountKey={SECRETS['key of a storage account']}+/==;S=b",
    "webhook": f"https://hooks.slack.com/services/T00/B00/{SECRETS['webhook']}",
    "escaped JSON": rf'{{"body": "{{\"api_key\": \"{SECRETS["escaped JSON"]}\"}}"}}',
    "pair of a header": f'("X-Api-Key", "{SECRETS["pair of a header"]}")',
}
