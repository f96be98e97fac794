"""Faults of Python: exceptions in the shapes that programs give them, and what hides them."""

from __future__ import annotations

from fault import ANY, Fault, one

FAULTS = (
    Fault(
        "an exception in the script",
        one("exception", 2, "ValueError: shard 2: expected 4096 rows, found 17"),
        """
        if rank == 2:
            raise ValueError("shard 2: expected 4096 rows, found 17")
        wait()
        """,
    ),
    Fault(
        "an exception four calls deep in a library",
        one("exception", 1, "JSONDecodeError: Expecting value: line 1"),
        """
        import json
        def configure(text):
            return json.loads(text)
        if rank == 1:
            configure('{"lr": 0,}'.replace("0", "?"))
        wait()
        """,
    ),
    Fault(
        "an exception raised from another",
        one("exception", 0, "RuntimeError: checkpoint 40 cannot be read"),
        """
        if rank == 0:
            try:
                open("step40.pt")
            except OSError as error:
                raise RuntimeError("checkpoint 40 cannot be read") from error
        wait()
        """,
    ),
    Fault(
        "an exception while another is handled",
        one("exception", 1, "NameError: name 'logger' is not defined"),
        """
        if rank == 1:
            try:
                1 / 0
            except ZeroDivisionError:
                logger.exception("step failed")
        wait()
        """,
    ),
    Fault(
        "a thread's exception that ends the process",
        one("exception", 2, "RuntimeError: queue of the loader is closed"),
        """
        import os, sys, threading
        def ends(args):
            sys.__excepthook__(args.exc_type, args.exc_value, args.exc_traceback)
            os._exit(1)
        threading.excepthook = ends
        def load():
            raise RuntimeError("queue of the loader is closed")
        if rank == 2:
            threading.Thread(target=load).start()
        wait()
        """,
    ),
    Fault(
        "a thread's exception after which main gives up",
        one("exception", 1, "RuntimeError: decoder died"),
        """
        import sys, threading
        def decode():
            raise RuntimeError("decoder died")
        if rank == 1:
            thread = threading.Thread(target=decode)
            thread.start()
            thread.join()
            sys.exit(1)
        wait()
        """,
    ),
    Fault(
        "an exception in a pool of threads",
        one("exception", 0, "KeyError: 'tokens'"),
        """
        from concurrent.futures import ThreadPoolExecutor
        if rank == 0:
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(lambda one: one["tokens"], [{"tokens": 1}, {}]))
        wait()
        """,
    ),
    Fault(
        "an exception in a pool of processes",
        one("exception", 2, "ValueError: cannot parse record 17"),
        """
        import multiprocessing
        def parse(number):
            if number == 17:
                raise ValueError(f"cannot parse record {number}")
        if rank == 2:
            with multiprocessing.get_context("fork").Pool(2) as pool:
                pool.map(parse, range(20))
        wait()
        """,
    ),
    Fault(
        "an exception in a task of asyncio",
        one("exception", 1, "TimeoutError: no answer from the feature store"),
        """
        import asyncio
        async def fetch():
            raise TimeoutError("no answer from the feature store")
        async def main():
            async with asyncio.timeout(30):
                await asyncio.gather(fetch(), asyncio.sleep(30))
        if rank == 1:
            asyncio.run(main())
        wait()
        """,
    ),
    Fault(
        "an exception in a subprocess that the worker waits for",
        one("exception", 0, "OSError: no kernel for sm_120"),
        """
        import subprocess, sys
        if rank == 0:
            code = "raise OSError('no kernel for sm_120')"
            subprocess.run([sys.executable, "-c", code], check=True)
        wait()
        """,
    ),
    Fault(
        "a function at exit that ends the process with another code",
        one("exit_code", 1, "exit code 41"),
        """
        import atexit, os
        atexit.register(os._exit, 41)
        if rank != 1:
            wait()
        """,
    ),
    Fault(
        "an exception, and a function at exit that raises, too",
        one("exception", 1, "ValueError: loss is nan"),
        """
        import atexit
        def close():
            raise RuntimeError("writer is closed already")
        if rank == 1:
            atexit.register(close)
            raise ValueError("loss is nan")
        wait()
        """,
    ),
    Fault("a syntax error in the script", one("exception", ANY, "SyntaxError"), "def train(:\n    pass\n"),
    Fault(
        "a syntax error in a module of one rank",
        one("exception", 2, "SyntaxError"),
        """
        if rank == 2:
            import model
        wait()
        """,
        files=(("model.py", "class Model\n    pass\n"),),
    ),
    Fault(
        "an import that is not installed",
        one("exception", ANY, "ModuleNotFoundError: No module named 'flash_attention_9'"),
        "import flash_attention_9\n",
    ),
    Fault(
        "a name that a module does not have",
        one("exception", ANY, "ImportError: cannot import name 'dumpz' from 'json'"),
        "from json import dumpz\n",
    ),
    Fault(
        "a file of the data that is missing",
        one("exception", 1, "FileNotFoundError: [Errno 2] No such file or directory: '/data/none/train-1.bin'"),
        """
        if rank == 1:
            open(f"/data/none/train-{rank}.bin")
        wait()
        """,
    ),
    Fault(
        "an assertion without words",
        one("exception", 2, "AssertionError"),
        """
        if rank == 2:
            assert world % 2 == 0
        wait()
        """,
    ),
    Fault(
        "a KeyboardInterrupt that the worker raises itself",
        one("exception", 1, "KeyboardInterrupt"),
        """
        if rank == 1:
            raise KeyboardInterrupt
        wait()
        """,
    ),
    Fault(
        "SystemExit with a message",
        one("exit_code", 0, "the tokenizer has 32000 entries, the model 32064"),
        """
        import sys
        if rank == 0:
            sys.exit("the tokenizer has 32000 entries, the model 32064")
        wait()
        """,
    ),
    Fault(
        "an exception group",
        one("exception", 2, "OSError: shard 4"),
        """
        if rank == 2:
            raise ExceptionGroup("two shards failed", [OSError("shard 4"), ValueError("shard 9")])
        wait()
        """,
    ),
    Fault(
        "a task group with one exception",
        one("exception", 1, "ValueError: bucket 3"),
        """
        import asyncio
        async def fails():
            raise ValueError("bucket 3")
        async def main():
            async with asyncio.TaskGroup() as group:
                group.create_task(fails())
                group.create_task(asyncio.sleep(30))
        if rank == 1:
            asyncio.run(main())
        wait()
        """,
    ),
    Fault(
        "recursion without end",
        one("exception", 0, "RecursionError: maximum recursion depth exceeded"),
        """
        def flatten(tree):
            return flatten([tree])
        if rank == 0:
            flatten([])
        wait()
        """,
    ),
    Fault(
        "a message of 200 lines",
        one("exception", 1, "RuntimeError: Error(s) in loading state_dict for Net:"),
        """
        if rank == 1:
            keys = "\\n".join(f"    size mismatch for layers.{number}.weight" for number in range(200))
            raise RuntimeError(f"Error(s) in loading state_dict for Net:\\n{keys}")
        wait()
        """,
    ),
    Fault(
        "a message of 100,000 characters on one line",
        one("exception", 0, "ValueError: bad tensor [0, 1, 2, 3,"),
        """
        if rank == 0:
            raise ValueError(f"bad tensor {list(range(20000))}")
        wait()
        """,
    ),
    Fault(
        "a message with colours, and a traceback in colours",
        one("exception", 2, "ValueError: bad learning rate"),
        """
        import sys, traceback
        def coloured(type, value, tb):
            for line in traceback.format_exception(type, value, tb):
                sys.stderr.write("\\x1b[31;1m" + line.rstrip("\\n") + "\\x1b[0m\\n")
        sys.excepthook = coloured
        if rank == 2:
            raise ValueError("bad \\x1b[33mlearning\\x1b[0m rate")
        wait()
        """,
    ),
    Fault(
        "a message with control characters and bytes that are no UTF-8",
        one("exception", 1, "ValueError: header is"),
        """
        if rank == 1:
            raise ValueError("header is \\x00\\x07\\x1b[2J\\udcff\\x08 and not PK")
        wait()
        """,
    ),
    Fault(
        "an exception whose words cannot be made",
        one("exception", 0, "Failure"),
        """
        class Failure(Exception):
            def __str__(self):
                return self.args[1]
        if rank == 0:
            raise Failure()
        wait()
        """,
    ),
    Fault(
        "an exception of a class inside a function",
        one("exception", 1, "OutOfBudget: step 12"),
        """
        def make():
            class OutOfBudget(Exception):
                pass
            return OutOfBudget
        if rank == 1:
            raise make()("step 12")
        wait()
        """,
    ),
    Fault(
        "an exception with notes",
        one("exception", 2, "ValueError: nan in gradient"),
        """
        if rank == 2:
            error = ValueError("nan in gradient")
            error.add_note("layer 17, step 1200")
            raise error
        wait()
        """,
    ),
    Fault(
        "an exception behind a progress bar that began a line",
        one("exception", 0, "ValueError: bad batch"),
        """
        import sys
        if rank == 0:
            for done in range(50):
                sys.stderr.write(f"\\rstep {done}/100 [####      ]")
            raise ValueError("bad batch")
        wait()
        """,
    ),
    Fault(
        "handled exceptions in the log, then an exit code",
        one("exit_code", 1, "exit code 7"),
        """
        import logging, sys
        if rank == 1:
            for number in range(3):
                try:
                    raise OSError(f"attempt {number}")
                except OSError:
                    logging.exception("will be tried again")
            sys.exit(7)
        wait()
        """,
    ),
    Fault(
        "a handled exception in the log, then another that ends it",
        one("exception", 2, "ValueError: giving up"),
        """
        import logging
        if rank == 2:
            try:
                raise OSError("first")
            except OSError:
                logging.exception("will be tried again")
        if rank == 2:
            raise ValueError("giving up")
        wait()
        """,
    ),
    Fault(
        "exceptions that Python ignores, then one that ends it",
        one("exception", 0, "ValueError: the real one"),
        """
        class Resource:
            def __del__(self):
                raise RuntimeError("cannot close")
        resource = Resource()
        if rank == 0:
            raise ValueError("the real one")
        wait()
        """,
    ),
    Fault(
        "a child that goes on writing 200 kB after the traceback",
        one("exception", 1, "ValueError: above the flood"),
        """
        import os, sys, traceback
        if rank == 1:
            try:
                raise ValueError("above the flood")
            except ValueError:
                traceback.print_exc()
            for number in range(4000):
                sys.stderr.write(f"loader: queue is closed, giving up on batch {number}\\n")
            sys.stderr.flush()
            os._exit(1)
        wait()
        """,
    ),
    Fault(
        "an exception of a worker whose stderr is closed",
        one("exception", 2, "ValueError: in silence"),
        """
        import os
        if rank == 2:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            raise ValueError("in silence")
        wait()
        """,
    ),
    Fault(
        "an exception that the worker records, whose stderr is closed",
        one("exception", 2, "ValueError: in silence"),
        """
        import os
        try:
            from launcher_core import record
        except ImportError:
            from torch.distributed.elastic.multiprocessing.errors import record
        @record
        def main():
            raise ValueError("in silence")
        if rank == 2:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            main()
        wait()
        """,
    ),
    Fault(
        "a traceback with a prefix on each line",
        one("exception", 1, "RuntimeError: CUDA error: device-side assert triggered"),
        """
        import sys, traceback
        def prefixed(type, value, tb):
            for part in traceback.format_exception(type, value, tb):
                for line in part.splitlines():
                    print(f"[rank{rank}]: {line}", file=sys.stderr)
        sys.excepthook = prefixed
        if rank == 1:
            raise RuntimeError("CUDA error: device-side assert triggered")
        wait()
        """,
    ),
    Fault(
        "all ranks raise the same at the same time",
        one("exception", ANY, "ValueError: --lr must be above 0"),
        """
        all_ready()
        raise ValueError("--lr must be above 0")
        """,
    ),
    Fault(
        "not enough memory within a limit of the process",
        one("exception", 2, "MemoryError"),
        """
        import resource
        if rank == 2:
            resource.setrlimit(resource.RLIMIT_AS, (2**28, 2**28))
            batches = [bytearray(2**24) for _ in range(100)]
        wait()
        """,
    ),
    Fault(
        "a wrong argument, told by argparse",
        one("exit_code", ANY, "unrecognized arguments: --learning-rate=1"),
        """
        import argparse
        all_ready()
        argparse.ArgumentParser().parse_args()
        """,
        program=("fault.py", "--learning-rate=1"),
    ),
)
