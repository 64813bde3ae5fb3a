"""Weights that something else than an optimizer sets: values written between the steps, and averages in copies.

P tracked parameters, V sampled values.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from clearsight.core.context import WeightWrites
from clearsight.debugger.capture.initial_weights import unset_norms
from clearsight.debugger.capture.model_inspection import InspectedModel
from clearsight.debugger.capture.transfer import Arrays, RecordSender

_LINE = 0.5  # least cosine between the way of the average and that of the weights

_TRACKED = 4  # parameters, evenly over the model: what loads or cuts weights does so in all layers
_VALUES = 128  # of a tracked parameter: copying them takes a few microseconds
_FIRST = 16  # steps that are always compared by value
_PERIOD = 16  # of which two in a row are compared: writes to `.data` leave no trace in the version of a parameter
_EVALUATIONS = 512  # whose values are kept: 1 MB
_LISTED = 256  # returns and replacements that are listed
_UNRELATED = 0.3  # correlation below which values have nothing to do with those before
_LEAST_VALUES = 16  # values of a tracked parameter that a correlation needs
_ROUNDING = 1e-6  # of the size of the weights: no change

Values = npt.NDArray[np.float64]


@torch.no_grad()
def averaged_copy(model: nn.Module, last: nn.Parameter, before: Tensor) -> tuple[float | None, int]:
    """Return the share of the way of a weight that its moving average in a copy of the model has gone, and how many
    BatchNorms of that copy have the statistics of new layers.

    last: a weight of the model.  before: the same, before the training.  None and 0 where no copy in evaluation mode
    holds weights between the two; of several the one that has gone furthest, since those of an earlier training may
    still be in memory. Takes about 0.1 s, so once a run.
    """
    way = (last.detach().to(before) - before).flatten()
    length = float(torch.linalg.vector_norm(way))
    if not length:
        return None, 0
    found: list[tuple[float, int]] = []
    for copy, weight in _copies(model, last):
        gone = (weight.to(before) - before).flatten()
        distance = float(torch.linalg.vector_norm(gone))
        # A copy that has not moved is no average, nor is one that was trained elsewhere.
        if distance and float(gone @ way) > _LINE * distance * length:
            found.append((float(gone @ way) / length**2, unset_norms(copy)[0]))
    return max(found, default=(None, 0), key=lambda item: item[0])


def _copies(model: nn.Module, last: nn.Parameter) -> Iterator[tuple[nn.Module, Tensor]]:
    """Yield every copy of the model that is in evaluation mode, and its finite weight of the same name."""
    name = next((name for name, parameter in model.named_parameters() if parameter is last), "")
    gc.collect()  # copies that only garbage refers to
    # All objects of the process, since nothing in the model leads to its copies. By the type, because `isinstance`
    # would wake lazy modules.
    for copy in [found for found in gc.get_objects() if type(found) is type(model) and found is not model]:
        weight = None if copy.training else dict(copy.named_parameters()).get(name)
        if weight is not None and weight.shape == last.shape and bool(torch.isfinite(weight).all()):
            yield copy, weight.detach()


class WeightRecord:
    """Compares sampled values of the weights at different times, in order of time; all arrays are (V,).

    parts: number of values of each tracked parameter.
    """

    def __init__(self, parts: list[int]) -> None:
        self._ends = np.cumsum(parts)[:-1]
        self._start: Values | None = None  # before the first step
        self._seen: dict[int, Values] = {}  # at evaluations, by training steps done
        self._origin: Values | None = None  # since the last write that was compared
        self._opposed = self._own = 0.0  # product of way and what is taken back, and square of the way
        self._checked = self._changed = 0
        self._returns: list[tuple[int, int]] = []
        self._replaced: list[int] = []
        self._limit = self._cut = self._held = 0.0
        self._restarts: list[tuple[int, bool]] = []  # steps done, True if at the start again
        self._final: int | None = None

    def begin(self, now: Values) -> None:
        """Note the values before the first step."""
        self._start = self._origin = now

    def restart(self, done: int, now: Values) -> None:
        """Note the values with which another optimizer begins: what was written before is its start."""
        self._origin = now
        if len(self._restarts) < _LISTED:
            self._restarts.append((done, self._start is not None and np.array_equal(now, self._start)))

    def evaluated(self, done: int, now: Values) -> None:
        """Note the values at an evaluation."""
        if np.isfinite(now).all():
            self._seen.setdefault(done, now)
        if len(self._seen) > _EVALUATIONS:
            del self._seen[next(iter(self._seen))]

    def compare(self, done: int, before: Values, after: Values, now: Values, *, unseen: bool = False) -> None:
        """Compare the values before the last step, after it, and before the next one.

        unseen: True if there were writes since the last comparison.
        """
        self._checked += 1
        size = float(np.linalg.norm(after))
        written = now - after
        length = float(np.linalg.norm(written))
        if not np.isfinite(length) or length <= _ROUNDING * size:
            return
        # The way since the last write, where that one was seen; where something writes before every step, it was not.
        is_rare = not unseen and (not self._changed or self._checked > 2 * self._changed)
        origin = self._origin if is_rare and self._origin is not None else before
        way = after - origin
        self._changed += 1
        own = float(way @ way)
        # No write takes back more than all: one that replaces the weights has any product with the way.
        self._opposed += min(own, max(-own, -float(written @ way)))
        self._own += own
        self._origin = now
        self._note_limit(after, now)
        if (to := self._earlier(now, done)) is not None:
            if len(self._returns) < _LISTED:
                self._returns.append((done, to))
        elif self._is_unrelated(origin, after, now) and len(self._replaced) < _LISTED:
            self._replaced.append(done)

    def end(self, done: int, after: Values, now: Values) -> None:
        """Compare the values of the end with those after the last step and with earlier ones."""
        if np.linalg.norm(now - after) > _ROUNDING * np.linalg.norm(after):
            self._final = self._earlier(now, done)

    def info(self) -> WeightWrites:
        """Return what was found."""
        return WeightWrites(
            checked=self._checked,
            changed=self._changed,
            returns=tuple(self._returns),
            replaced=tuple(self._replaced),
            undone=self._opposed / self._own if self._own > 0 else 0.0,
            limit=self._limit,
            cut=self._cut,
            held=self._held,
            restarts=tuple(done for done, _ in self._restarts),
            begun_again=any(is_start for _, is_start in self._restarts),
            final=self._final,
            start_evaluated=0 in self._seen,
        )

    def _earlier(self, now: Values, done: int) -> int | None:
        """Return the training steps done when the very same values were seen first; None if no step was made since."""
        if self._start is not None and np.array_equal(now, self._start):
            return 0
        # Of an evaluation after the same step they are what was written before it: an average, say.
        earlier = (step for step, values in self._seen.items() if step < done and np.array_equal(now, values))
        return next(earlier, None)

    def _note_limit(self, after: Values, now: Values) -> None:
        """Note the share of the values that have the largest size left, and of those that the first write cut to it."""
        limit = float(np.abs(now).max())
        is_held = np.abs(now) >= limit * (1 - _ROUNDING)
        self._held = float(is_held.mean())
        if self._changed == 1:
            self._limit, self._cut = limit, float((is_held & (np.abs(after) > limit)).mean())

    def _is_unrelated(self, origin: Values, after: Values, now: Values) -> bool:
        """Return True if in every parameter that was trained the values have nothing to do with those before."""
        trained = 0
        for old, last, new in zip(*(np.split(values, self._ends) for values in (origin, after, now)), strict=True):
            if len(last) < _LEAST_VALUES or not np.ptp(last) or not np.ptp(new) or np.array_equal(old, last):
                continue
            trained += 1
            if abs(float(np.corrcoef(last, new)[0, 1])) > _UNRELATED:
                return False
        return trained > 0


class WeightSample:
    """Reads the same few values of the weights again and again."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        self.parameters = parameters
        self._views: list[Tensor] = []
        self._places: list[int] = []  # addresses of the memory that the views refer to
        self._forms: list[tuple[torch.device, torch.Size, tuple[int, ...]]] = []  # device, shape, strides

    @property
    def versions(self) -> list[int]:
        """Numbers that change with every write to a parameter, but not with those to its `.data`."""
        return [parameter._version for parameter in self.parameters]

    @property
    def parts(self) -> list[int]:
        """Number of values of each parameter."""
        return list(map(len, self._views))

    @torch.no_grad()
    def take(self) -> Tensor | None:
        """Return a copy (V,) of the values; None, for good, once the weights have another form."""
        if not self.parameters:
            return None
        places = [parameter.data_ptr() for parameter in self.parameters]
        if places != self._places:
            forms = [(p.device, p.shape, p.stride()) for p in self.parameters]
            if self._forms not in ([], forms) or len({parameter.device for parameter in self.parameters}) > 1:
                self.parameters, self._views = [], []
                return None
            self._places, self._forms = places, forms
            self._views = [_values_of(parameter) for parameter in self.parameters]
        return torch.cat(self._views)


class WeightChanges:
    """Follows a few values of the weights from optimizer step to optimizer step.

    What optimizers that hold these weights do inside of their steps is training; what changes between the end of one
    step and the beginning of the next is somebody else's: weights that are loaded, made anew or cut. What is put in and
    taken out again in between, such as averages for an evaluation, is no change. A parameter counts the writes to it,
    so that most steps compare no values. Nothing here waits for a device.

    initial: the last weight before the training, None where there is none.
    """

    def __init__(self, model: InspectedModel, sender: RecordSender) -> None:
        self.initial = model.last.detach().clone() if model.last is not None else None
        self._sample, self._sender = WeightSample(tracked(model)), sender
        self._record: WeightRecord | None = None  # from the first sample on
        self._optimizers: weakref.WeakKeyDictionary[torch.optim.Optimizer, bool] = weakref.WeakKeyDictionary()
        self._active: torch.optim.Optimizer | None = None  # whose step is under way
        self._versions: list[int] = []
        self._before: Tensor | None = None  # the last step
        self._after: Tensor | None = None
        self._steps = self._streak = 0
        self._evaluated = self._unseen = False  # an evaluation, or a write that was not compared, since the last one

    def before_update(self, optimizer: torch.optim.Optimizer, done: int) -> None:
        """See what was written since the last step. done: training steps so far."""
        if self._active not in (None, optimizer) or torch.compiler.is_compiling():
            return  # an optimizer that steps inside of another one
        if is_new := optimizer not in self._optimizers:
            held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
            self._optimizers[optimizer] = any(id(parameter) in held for parameter in self._sample.parameters)
        if not self._optimizers[optimizer]:
            return
        self._active, after, before = optimizer, self._after, self._before
        is_written = self._versions != self._sample.versions
        self._streak = self._streak + 1 if is_written else 0
        # Rare writes are compared at once, those before every step in some steps alone.
        due = self._steps < _FIRST or self._steps % _PERIOD == 0 or self._evaluated
        due |= is_written and self._streak <= _FIRST
        is_sampled = due or is_written or self._steps % _PERIOD == _PERIOD - 1
        self._before = self._taken() if is_sampled else after
        if self._before is None or (record := self._record) is None:
            return
        if after is None or before is None:
            self._sender.send(lambda arrays: record.begin(*_doubles(arrays)), [self._before])
        elif is_new:
            self._sender.send(lambda arrays: record.restart(done, *_doubles(arrays)), [self._before])
        elif due:
            unseen, samples = self._unseen, [before, after, self._before]
            self._sender.send(lambda arrays: record.compare(done, *_doubles(arrays), unseen=unseen), samples)
        self._evaluated, self._unseen = False, not due and (self._unseen or is_written)

    def after_update(self, optimizer: torch.optim.Optimizer) -> None:
        """Note the values that a step has left."""
        if self._active is optimizer:
            self._active, self._after = None, self._taken()
            self._versions = self._sample.versions
            self._steps += 1

    def evaluated(self, done: int) -> None:
        """Note the values at an evaluation after `done` training steps."""
        self._evaluated = True
        now = None if torch.compiler.is_compiling() else self._taken()
        if now is not None and (record := self._record) is not None:
            self._sender.send(lambda arrays: record.evaluated(done, *_doubles(arrays)), [now])

    def end(self, done: int) -> None:
        """Note the values of the end, after `done` training steps."""
        after, record, now = self._after, self._record, self._taken()
        if after is not None and record is not None and now is not None:
            self._sender.send(lambda arrays: record.end(done, *_doubles(arrays)), [after, now])

    def info(self) -> WeightWrites:
        """Return what was found so far."""
        return self._record.info() if self._record is not None else WeightWrites()

    def _taken(self) -> Tensor | None:
        values = self._sample.take()
        if values is None:
            self._after = None
        elif self._record is None:
            self._record = WeightRecord(self._sample.parts)
        return values


def tracked(model: InspectedModel) -> list[nn.Parameter]:
    """Return a few trainable weights, evenly over the model, the last among them."""
    usable = [
        parameter
        for _, parameter in model.trainable
        # Exactly: sharded, lazy and quantised parameters keep their numbers elsewhere.
        if type(parameter) is nn.Parameter
        and parameter.layout is torch.strided
        and _flat(parameter).is_contiguous()
        and parameter.is_floating_point()
        and parameter.numel() > 1
        and parameter.device.type != "meta"
        and not parameter.is_inference()
    ]
    weights = [parameter for parameter in usable if parameter.dim() > 1] or usable
    places = {round(place) for place in np.linspace(0, len(weights) - 1, _TRACKED)} if weights else set()
    return [weights[place] for place in sorted(places)]


def _values_of(parameter: nn.Parameter) -> Tensor:
    """Return a view of up to 128 values, evenly over the parameter in memory."""
    flat = _flat(parameter).view(-1)
    return flat[:: -(-len(flat) // _VALUES)]


def _flat(parameter: nn.Parameter) -> Tensor:
    """Return the parameter with its axes by falling stride: contiguous where it is dense, in any memory format."""
    tensor = parameter.detach()
    strides = tensor.stride()
    return tensor.permute(sorted(range(tensor.dim()), key=lambda axis: -strides[axis]))


def _doubles(arrays: Arrays) -> list[Values]:
    return [array.astype(np.float64) for array in arrays]
