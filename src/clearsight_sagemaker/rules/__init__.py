"""Debugger and profiler rules of a training job: judged while the job runs, in a process of their own.

`conditions` holds the built-in rules of the debugger as SageMaker defines them; clearsight's own rules of the same
names add causes and advice. Profiler rules are judged on the metrics of the machine when the script has ended.
"""
