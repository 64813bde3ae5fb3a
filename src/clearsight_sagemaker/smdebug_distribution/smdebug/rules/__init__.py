"""Rules: conditions on the tensors of a trial."""

from smdebug.rules.rule import Rule
from smdebug.rules.rule_invoker import invoke_rule

__all__ = ["Rule", "invoke_rule"]
