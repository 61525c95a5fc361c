"""Stands in for the process that decodes, and does what the file says."""

import json
import os
import resource
import signal
import sys
import time

from rushes.serve import decoding_child


def main() -> None:
    request = json.loads(sys.argv[1])
    with open(request["file"], "rb") as file:
        act, _, rest = file.read().partition(b" ")
    if act == b"stay":  # as long as its parent
        decoding_child._leave_with_parent(request["parent"])
        time.sleep(600)
    if act == b"limits":
        decoding_child._limit(request)
        limits = {name: resource.getrlimit(getattr(resource, name)) for name in rest.decode().split()}
        rest = json.dumps({"status": "refused", "message": json.dumps(limits)}).encode() + b"\n"
    if act == b"hang":
        time.sleep(600)
    if act == b"kill":
        os.kill(os.getpid(), int(rest))
    if act == b"exit":
        os._exit(int(rest))
    if act == b"tell":
        told = {"names": sorted(os.environ), "session": os.getsid(0) == os.getpid(), "fds": os.listdir("/proc/self/fd")}
        rest = json.dumps({"status": "refused", "message": json.dumps(told)}).encode() + b"\n"
    if act == b"nap":
        time.sleep(0.5)
        rest = b'{"status": "refused", "message": "slept"}\n'
    signal.alarm(60)
    os.write(request["result"], rest)
