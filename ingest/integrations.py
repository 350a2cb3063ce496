"""`import ingest.integrations`: the client's module of that name; part of the face (`ingest/__init__.py`)."""

import sys

from ingest_client import integrations

sys.modules[__name__] = integrations
