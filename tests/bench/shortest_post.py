"""The shortest program with inotify_simple and a kept client: URL DIRECTORY..."""

import sys

import httpx
from inotify_simple import INotify, flags

inotify = INotify()
for directory in sys.argv[2:]:
    inotify.add_watch(directory, flags.MOVED_TO)
with httpx.Client() as client:
    while inotify.read():
        client.post(sys.argv[1])
