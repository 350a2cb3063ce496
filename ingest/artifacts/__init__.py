"""Files that runs and models keep: where they lie, how they come in and go out. Nothing here knows HTTP or a database.

    paths      which paths are safe, and whose they are; pure
    errors     what can go wrong
    store      what a store can do: the interface, with what all stores share
    local, objects, sftp      the stores: a directory, obstore (S3, GCS, Azure), asyncssh
    opening    from the setting `artifact_root` to a store
    uploads    files that come in parts, to be resumed after any interruption
    library    what handlers use: a store with its rules, as `services.artifacts`

A file is written under a name that no reader can ask for and gets its own at the end, whole: readers see the old
content or the new one. Pieces of about CHUNK_BYTES are all that is ever in memory.
"""

from __future__ import annotations
