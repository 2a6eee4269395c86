"""Run a program written for xAI's gRPC API against another host, unedited: HOST:PORT PROGRAM [ARGUMENT...]."""

import runpy
import sys

from xai_sdk.client import BaseClient

host, *sys.argv = sys.argv[1:]
BaseClient.__init__.__kwdefaults__.update(api_host=host, management_api_host=host, use_insecure_channel=True)
runpy.run_path(sys.argv[0], run_name="__main__")
