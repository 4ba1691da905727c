"""An issuer of access tokens, as the user pool is in a region."""

from __future__ import annotations

import http.server
import json
import threading
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT_ID = "realtime-tests"


class Issuer:
    """Signs access tokens as Cognito does."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        body = json.dumps({"keys": [{**public, "kid": "k1", "alg": "RS256", "use": "sig"}]}).encode()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                return

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.jwks_url = f"{self.url}/jwks.json"

    def token(self, player_id: str, **claims: Any) -> str:
        body = {
            "sub": player_id,
            "iss": self.url,
            "client_id": CLIENT_ID,
            "token_use": "access",
            "exp": int(time.time()) + 600,
            **claims,
        }
        return jwt.encode(body, self._key, algorithm="RS256", headers={"kid": "k1"})

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
