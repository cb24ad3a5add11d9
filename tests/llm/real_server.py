"""real_server.py MODEL.gguf KEY chat|embedding [PORT] -- llama.cpp's own server (package xllamacpp) on the loopback,
until it is killed. Prints its address. It wants to know beforehand whether it is for chat or for vectors."""

import socket
import sys
import threading

import xllamacpp

p = xllamacpp.CommonParams()
p.model.path = sys.argv[1]
p.model_alias = ["tiny"]
p.api_keys = [sys.argv[2]]
p.n_ctx = 16384
p.n_batch = p.n_ubatch = 16384  # a text to embed must fit into one
p.n_parallel = 1
p.cpuparams.n_threads = 1
p.warmup = False
p.hostnames = ["127.0.0.1"]
if sys.argv[3] == "embedding":
    p.embedding = True
    p.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
if len(sys.argv) > 4:
    p.port = int(sys.argv[4])
else:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        p.port = s.getsockname()[1]
server = xllamacpp.Server(p)
print(server.listening_address, flush=True)
threading.Event().wait()
