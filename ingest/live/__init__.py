"""The live stream: who watches which runs, and what is new for each of them.

watch   one watcher: its cursor, what it has been told, what is still to be told; pure
hub     one task of each process that asks the database, whatever the number of watchers
"""
