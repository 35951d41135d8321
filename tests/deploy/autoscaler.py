"""The rule by which KEDA and the HorizontalPodAutoscaler turn a ScaledObject's triggers into a number of replicas.

Written from their public documentation, for prometheus triggers of metric type AverageValue:
- a trigger asks for value / threshold replicas, rounded up, unless that is within 10 % of what is there; the largest answer counts;
- a query that fails, or finds nothing while ignoreNullValues is "false", is a failure. While a trigger fails there may be scaling up by the
  others, but none down. After more than `failureThreshold` failures in a row the trigger asks for the fallback's replicas;
- the stabilization window of a direction takes the most cautious of the answers in it; policies bound the change in a period.
Not here: activation and scaling to zero, other metric types, and the starting period in which the HPA distrusts a new pod's CPU.
"""

import math
from dataclasses import dataclass

TOLERANCE = 0.1


@dataclass
class Trigger:
    name: str
    query: str
    threshold: float
    ignore_null: bool
    failures: int = 0


class Autoscaler:
    """`clock` gives seconds; `ask(query)` gives the values a query found, or raises OSError or RuntimeError."""

    def __init__(self, spec, clock, ask):
        self._low, self._high = spec["minReplicaCount"], spec["maxReplicaCount"]
        self._fallback = spec.get("fallback")
        behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        self._up, self._down = behavior["scaleUp"], behavior["scaleDown"]
        self._clock = clock
        self._ask = ask
        self._answers = []  # (time, replicas asked for)
        self._changes = []  # (time, replicas added; negative: removed)
        self.triggers = []
        for trigger in spec["triggers"]:
            if trigger["type"] != "prometheus" or trigger["metricType"] != "AverageValue":
                raise ValueError(f"trigger {trigger['name']}: only prometheus with AverageValue is known here")
            facts = trigger["metadata"]
            self.triggers.append(Trigger(trigger["name"], facts["query"], float(facts["threshold"]),
                                         facts.get("ignoreNullValues", "true") == "true"))

    def step(self, current):
        """The number of replicas there shall be after one round of the controller."""
        now = self._clock()
        if not self._low <= current <= self._high:
            return min(max(current, self._low), self._high)
        if not self._answers:  # a controller that just started does not scale down before a window is full
            self._answers.append((now, current))
        wanted = [self._wanted(trigger, current) for trigger in self.triggers]
        known = [count for count in wanted if count is not None]
        if not known or (len(known) < len(wanted) and max(known) < current):
            return current
        new = self._limited(current, self._stabilized(current, max(known), now), now)
        if new != current:
            self._changes.append((now, new - current))
        return new

    def _value(self, trigger):
        """The trigger's value now, None when there is none."""
        try:
            values = self._ask(trigger.query)
        except (OSError, RuntimeError):
            return None
        if not values and trigger.ignore_null:
            return 0.0
        return values[0] if len(values) == 1 else None

    def _wanted(self, trigger, current):
        value = self._value(trigger)
        trigger.failures = trigger.failures + 1 if value is None else 0
        if value is None:
            if not self._fallback or trigger.failures <= self._fallback["failureThreshold"]:
                return None
            value = trigger.threshold * self._fallback_replicas(current)
        if current and abs(value / (trigger.threshold * current) - 1) <= TOLERANCE:
            return current
        # Quantities have three decimals: without rounding 0.7 * 3 / 0.7 would ask for a fourth replica.
        return math.ceil(round(value / trigger.threshold, 3))

    def _fallback_replicas(self, current):
        replicas = self._fallback["replicas"]
        behavior = self._fallback.get("behavior", "static")
        return {"static": replicas, "currentReplicas": current, "currentReplicasIfHigher": max(current, replicas),
                "currentReplicasIfLower": min(current, replicas)}[behavior]

    def _stabilized(self, current, wanted, now):
        self._answers.append((now, wanted))

        def within(rules):
            window = rules.get("stabilizationWindowSeconds", 0)
            return [count for when, count in self._answers if when > now - window] or [wanted]

        return min(max(current, min(within(self._up))), max(within(self._down)))

    def _limited(self, current, wanted, now):
        """`wanted` within the policies of its direction, and within the least and the most replicas."""
        wanted = min(max(wanted, self._low), self._high)
        if wanted == current:
            return current
        rules, sign = (self._up, 1) if wanted > current else (self._down, -1)
        if rules.get("selectPolicy") == "Disabled":
            return current
        reach = [self._reach(policy, current, sign, now) for policy in rules["policies"]]
        widest = max(reach) if rules.get("selectPolicy", "Max") == "Max" else min(reach)
        return current + sign * min(abs(wanted - current), max(widest, 0))

    def _reach(self, policy, current, sign, now):
        """How many replicas the policy still lets come or go."""
        changed = sum(change for when, change in self._changes if when > now - policy["periodSeconds"])
        start = current - changed
        share = policy["value"] if policy["type"] == "Pods" else math.ceil(start * policy["value"] / 100)
        return share - sign * changed
