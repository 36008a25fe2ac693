"""A whole program: one no-op child by multiprocessing, forkserver."""

import multiprocessing

from benchmarks import targets

if __name__ == "__main__":
    context = multiprocessing.get_context("forkserver")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=targets.noop_to_pipe, args=(theirs,))
    process.start()
    print(ours.recv()[2])
    process.join()
