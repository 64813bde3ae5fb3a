"""ScheduleMismatch: the learning-rate schedule was made for a run of another length."""

from __future__ import annotations

import numpy as np

from clearsight.core.finding import Finding, Series
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.debugger.analysis.loss_curve import LossCurve, loss_curve, trend

_TO_LEARN = 0.15  # of the chance-level loss that was left to learn when the rate sank
_RISING = 0.5  # of the run after which the rate must still rise
_PEAK = 0.8  # of the run, at which the rate is at its peak where the warm-up was too long
_LEAST = 9  # steps that are needed before and after the rate sank
_ERRORS = 1.0  # standard error: a weak sign is enough, since the standstill itself is the evidence
_PER_EPOCH = 4  # batches of an epoch from which on batches and epochs cannot be mixed up by chance
_SAME = 0.8  # of each other: a schedule's length and the steps of a run that agree
_CLOSE = 0.05  # of a value: the loop's own mean of it may weigh the batches otherwise
_NEARLY_ALL, _NOTHING = 0.7, 0.005  # of the run, and of the peak rate
_REDUCTIONS = 3  # of the rate, within a run: one or two may be meant
_LEAST_HORIZON = 4  # steps of a schedule, below which its changes say little
_SQUARED = 0.02  # a rate may be multiplied by a warm-up on top of it
_ACCURATE = 0.95  # accuracy above which there is little left to learn


class ScheduleMismatch(Rule):
    """Found when the rate is below `sunk` of its peak for more than `share` of the run, or rises for most of the run.

    In the first case the loss must still have been falling when the rate sank. A step schedule whose steps are too
    short for the run does that: the model stands still for most of the time with a loss that it would have left behind.
    A schedule that ends low after a loss that had converged, and the low end of every cosine, are clear. In an external
    loop a scheduler of torch is found too if it is stepped in every batch and is over within an epoch, if it is stepped
    once an epoch and counts batches, or if it is never stepped over two epochs, and ReduceLROnPlateau if it waits for a
    loss to rise or an accuracy to fall, or is stepped with the loss of every batch. So are a function of LambdaLR that
    returns a rate in the place of a factor, and a run that has hardly any rate for most of its steps. SageMaker has no
    such rule.
    """

    explains = ("LossNotDecreasing", "UnderfitCapacity", "WeightUpdateRatio", "LearningRateTooLow")

    sunk: float = setting(
        0.015, "learning rate below which nothing more is learned", above=0, below=1, unit="of its peak"
    )
    share: float = setting(0.45, "largest part of the run at such a rate", above=0, below=1, unit="of the run")

    def needs(self) -> Needs:
        return Needs(points=2 * _LEAST)

    def check(self, view: RunView) -> list[Finding]:
        curve = loss_curve(view)
        if mistake := self._wrong_unit(view) or self._wrong_mode(view) or self._wrong_factor(view):
            return [mistake]
        if len(curve) < self.needs().points or not curve.has_rates:
            cause = "" if curve.has_rates or not len(curve) else "the learning rate is not known"
            return [self.not_enough_data(have=len(curve) if curve.has_rates else 0, cause=cause)]
        planned = curve.planned or view.done()
        peak = int(np.argmax(curve.rates))
        rises = np.all(np.diff(curve.rates[: peak + 1]) >= 0) and curve.peak_lr > curve.rates[int(_RISING * len(curve))]
        if view.ended and rises and peak >= _PEAK * (len(curve) - 1) and view.done() >= planned:
            return [self._unfinished(view, curve, peak)]
        low = curve.rates < self.sunk * curve.peak_lr
        # Only after the peak: the warm-up is low on purpose.
        low &= np.arange(len(curve)) > int(np.argmax(curve.rates == curve.peak_lr))
        sunk_at = int(np.argmax(low)) if low.any() else len(curve)
        total = max(planned, view.done())
        share = (total - sunk_at) / total
        long_enough = len(curve) - sunk_at >= max(_LEAST, 0.2 * planned) and (curve.planned or view.ended)
        sunken = low.any() and low[sunk_at:].all() and long_enough and share > self.share
        # Nearly all of a run at nearly no rate is no plan, whatever the loss did in the few steps before.
        lost = share > _NEARLY_ALL and float(curve.rates[sunk_at:].max(initial=0.0)) < _NOTHING * curve.peak_lr
        if not sunken or not (self._was_learning(view, curve, sunk_at) or (lost and self._far(view, curve, sunk_at))):
            value = share if low.any() else 0.0
            return [self.clear(value=value, threshold=self.share, unit="of the run")]
        step, level = int(curve.steps[sunk_at]), float(np.median(curve.losses[sunk_at:]))
        finding = self.found(
            value=share,
            threshold=self.share,
            unit="of the run",
            steps=(step, view.done()),
            epoch=int(view.scalar("lr").epochs[np.searchsorted(view.scalar("lr").steps, step)]),
            subject="lr",
            cause=f"the rate sank below {self.sunk:.1%} of its peak at step {step}, {share:.0%} of the run before "
            f"its end, and the loss{'' if lost else ', which was still falling,'} has been at {level:.2f} since",
            fix={"schedule": "cosine"},
            confidence=0.85,
            evidence=(
                Series.of("learning rate", curve.steps, curve.rates),
                Series.of("loss", curve.steps, curve.losses),
            ),
        )
        return [finding]

    def _wrong_unit(self, view: RunView) -> Finding | None:
        """Return a finding for a scheduler that is stepped in another unit than its own, or never."""
        info, per_epoch = view.context.loop.schedule, view.context.steps_per_epoch
        if not info.type or per_epoch < 2 or info.steps < 2 * _LEAST:
            return None
        rates = view.scalar("lr")
        lowered = rates.steps[1:][np.diff(rates.values) < 0]
        soon = len(lowered) >= _REDUCTIONS and lowered[_REDUCTIONS - 1] - lowered[0] < _REDUCTIONS * per_epoch
        changed = int(np.count_nonzero(np.diff(rates.values[rates.steps <= per_epoch])))
        over = changed >= info.horizon - 2 and np.ptp(rates.values[len(rates) // 2 :]) == 0
        name, epochs, known = info.type, info.steps / per_epoch, info.horizon > 0
        each_batch, each_epoch = info.advanced >= 0.9 * info.steps, info.advanced <= epochs + 1
        if info.advanced == 0 and epochs >= 2:
            cause = f"the scheduler {name} was never stepped in {epochs:.0f} epochs"
            advice = "Call scheduler.step() after every epoch, or after every batch if its length is given in batches."
        elif each_batch and known and info.horizon < per_epoch:
            cause = f"the scheduler {name} is stepped after every batch and is over after {info.horizon} of its steps, "
            cause += f"but an epoch has {per_epoch} batches: its length is meant in epochs"
            advice = "Move scheduler.step() out of the loop over the batches, to the end of the epoch."
        elif each_batch and info.mode and soon:
            cause = (
                f"{name} is stepped after every batch, and has lowered the rate {len(lowered)} times in {epochs:.0f} "
            )
            cause += "epochs: it takes the noise between batches for a plateau"
            advice = "Call scheduler.step(validation loss) once after every epoch."
        elif known and _LEAST_HORIZON <= info.horizon < per_epoch and epochs >= 2 and over:
            cause = f"the scheduler {name} is over after {info.horizon} of its steps, within the first epoch of "
            cause += f"{per_epoch} batches: its length is meant in epochs, or its steps are"
            advice = "Give it the number of batches of the whole run, or step it once an epoch."
        elif each_epoch and per_epoch >= _PER_EPOCH and view.ended and _SAME < info.horizon / info.steps < 1 / _SAME:
            cause = f"the scheduler {name} is stepped once an epoch, {info.advanced} times in all, but its length of "
            cause += f"{info.horizon} steps is that of the run in batches"
            advice = "Call scheduler.step() after every batch, inside of the loop over the batches."
        else:
            return None
        return self.found(
            value=info.advanced / info.steps,
            threshold=1 / per_epoch,
            unit="scheduler steps per batch",
            steps=(1, max(1, view.done())),
            subject="lr",
            cause=cause,
            advice=advice,
            confidence=0.95,
            evidence=Series.of("learning rate", rates.steps, rates.values),
        )

    def _wrong_mode(self, view: RunView) -> Finding | None:
        """Return a finding for ReduceLROnPlateau whose best value is the worst one of what it watches."""
        info, table, rates = view.context.loop.schedule, view.evaluations(), view.scalar("lr")
        if not info.mode or info.best is None or len(table) < 3 or not len(rates):
            return None
        is_max = info.mode == "max"
        # Losses fall and accuracies rise: the worst of them is what the wrong mode keeps as the best.
        watched = table.valid_loss if is_max else table.valid_accuracy
        right = table.valid_accuracy if is_max else table.valid_loss
        if not (np.isfinite(watched).all() and np.isfinite(right).all()):
            return None
        worst, best = (np.max, np.max) if is_max else (np.min, np.min)
        far, near = (abs(float(end(values)) - info.best) for end, values in ((best, right), (worst, watched)))
        if near > _CLOSE * max(abs(info.best), 1e-12) or far < 4 * near:
            return None
        name = "loss" if is_max else "accuracy"
        return self.found(
            value=info.best,
            threshold=float(best(right)),
            steps=(1, max(1, view.done())),
            subject="lr",
            cause=f"ReduceLROnPlateau looks for a {'maximum' if is_max else 'minimum'}, and its best value of "
            f"{info.best:.3g} is the worst validation {name}: each improvement lowers the rate",
            advice=f'Pass mode="{"min" if is_max else "max"}" to ReduceLROnPlateau.',
            confidence=0.9,
            evidence=Series.of("learning rate", rates.steps, rates.values),
        )

    def _wrong_factor(self, view: RunView) -> Finding | None:
        """Return a finding for a function of LambdaLR that returns a rate, which is multiplied by the rate again."""
        info, rates = view.context.loop.schedule, view.scalar("lr")
        if info.type != "LambdaLR" or not 0 < info.base < 1 or not len(rates):
            return None
        peak = float(np.nanmax(rates.values))
        if abs(peak / info.base**2 - 1) > _SQUARED:
            return None
        return self.found(
            value=peak,
            threshold=info.base,
            steps=(1, max(1, view.done())),
            subject="lr",
            cause=f"the function of LambdaLR returns {peak / info.base:.3g}, which is the learning rate itself: it is "
            f"multiplied by the rate of the optimizer once more, so that the rate is {peak:.3g} at most",
            advice="Return a factor, 1 for the rate of the optimizer.",
            confidence=0.9,
            evidence=Series.of("learning rate", rates.steps, rates.values),
        )

    def _far(self, view: RunView, curve: LossCurve, sunk_at: int) -> bool:
        """Return True if there was much left to learn when the rate sank."""
        accuracy = view.scalar("accuracy").values
        late = accuracy[np.isfinite(accuracy)][-_LEAST:]
        accurate = len(late) > 0 and float(late.mean()) > _ACCURATE
        return not accurate and curve.share_of_chance(float(np.median(curve.losses[sunk_at:]))) > _TO_LEARN

    def _was_learning(self, view: RunView, curve: LossCurve, sunk_at: int) -> bool:
        """Return True if the loss fell until the rate sank, and had far to go."""
        if sunk_at < _LEAST:
            return False
        before = curve.losses[:sunk_at]
        line, late = trend(before), trend(before[sunk_at // 2 :])
        accuracy = view.scalar("accuracy")
        accuracies = accuracy.values[(accuracy.steps <= curve.steps[sunk_at]) & np.isfinite(accuracy.values)][-_LEAST:]
        accurate = len(accuracies) > 0 and float(accuracies.mean()) > _ACCURATE
        level = float(np.median(curve.losses[sunk_at:]))
        falling = line.drop > _ERRORS * line.error and line.drop > 0 and late.drop > -late.error
        return bool(falling and not accurate and curve.share_of_chance(level) > _TO_LEARN)

    def _unfinished(self, view: RunView, curve: LossCurve, peak: int) -> Finding:
        """Return a finding for a run that was over soon after its warm-up. peak: place of the highest rate."""
        settings = view.context.settings
        fix = {"warmup": 0.05} if float(settings.get("warmup") or 0.0) > 0.05 else {}
        return self.found(
            value=float(curve.steps[peak]) / max(1, view.done()),
            threshold=_PEAK,
            unit="of the run",
            steps=curve.span(),
            subject="lr",
            cause=f"the learning rate rose until step {curve.steps[peak]}, to {curve.peak_lr:.2g}, and the run ended "
            f"after {view.done()} steps",
            fix=fix,
            advice="" if fix else "Shorten the warm-up, or train for longer than it lasts.",
            confidence=0.8,
            evidence=Series.of("learning rate", curve.steps, curve.rates),
        )
