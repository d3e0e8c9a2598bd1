"""The shortest program with inotify_simple that signals: PID DIRECTORY..."""

import os
import signal
import sys

from inotify_simple import INotify, flags

inotify = INotify()
for directory in sys.argv[2:]:
    inotify.add_watch(directory, flags.MOVED_TO)
while inotify.read():
    os.kill(int(sys.argv[1]), signal.SIGHUP)
