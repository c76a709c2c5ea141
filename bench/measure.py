# SPDX-License-Identifier: GPL-3.0-or-later
"""Ratios of two things that take turns, and what they say about a target.

A benchmark never gives a speed by itself: the machine's other work, its
clock and its caches change by more than what is looked for. It runs the base
and the thing in question in turns, base, thing, thing, base; one round's ratio
is the time of the two bases by that of the two things, so 1.0 is as fast as
the base and 0.5 half as fast. The median over the rounds is the result; the
quartiles say how much a round varies, and the 95 % interval of the median
(bootstrap) how well it is known.
"""

import json
import random
import statistics

RESAMPLES = 2000


class Unavailable(Exception):
    """This machine cannot run the benchmark; says why."""


class Result:
    """One line of the table."""

    def __init__(self, name, title, target=None, note=''):
        self.name = name
        self.title = title
        self.target = target
        self.note = note
        self.ratios = []
        self.base_seconds = []
        self.operations = 1
        self.unit = 'op'
        self.value = None
        self.skipped = None

    def median(self):
        return statistics.median(self.ratios)

    def quartiles(self):
        if len(self.ratios) < 2:
            return self.ratios[0], self.ratios[0]
        low, _, high = statistics.quantiles(self.ratios, n=4,
                                            method='inclusive')
        return low, high

    def interval(self):
        """Where the median is with a probability of 95 %."""
        chance = random.Random(1)
        medians = sorted(
            statistics.median(chance.choices(self.ratios,
                                             k=len(self.ratios)))
            for _ in range(RESAMPLES))
        return medians[RESAMPLES // 40], medians[-RESAMPLES // 40]

    def base_rate(self):
        """Operations a second of the base."""
        return self.operations / statistics.median(self.base_seconds)

    def verdict(self):
        if self.skipped is not None:
            return f'not measured: {self.skipped}'
        if self.target is None:
            return ''
        if self.value is not None:
            limit, unit = self.target
            word = 'met' if self.value[0] <= limit else 'NOT MET'
            return f'at most {limit} {unit}: {word}'
        word = 'met' if self.median() >= self.target else 'NOT MET'
        low, high = self.interval()
        if low < self.target < high:
            word += ' (within the uncertainty)'
        return f'target {self.target:.2f}: {word}'

    def as_dictionary(self):
        said = {'name': self.name, 'title': self.title,
                'verdict': self.verdict(), 'note': self.note}
        if self.skipped is not None:
            return said
        if self.value is not None:
            said.update(value=self.value[0], unit=self.value[1],
                        target=self.target and self.target[0])
            return said
        low, high = self.quartiles()
        sure_low, sure_high = self.interval()
        said.update(ratio=self.median(), quartiles=[low, high],
                    interval95=[sure_low, sure_high],
                    rounds=len(self.ratios), target=self.target,
                    base_per_second=self.base_rate(), unit=self.unit)
        return said

    def line(self):
        """What the table says, in words."""
        head = f'{self.name:<22} {self.title:<46}'
        if self.skipped is not None:
            return f'{head} {self.verdict()}'
        if self.value is not None:
            number, unit = self.value
            return f'{head} {number:8.3f} {unit:<24} {self.verdict()}'
        low, high = self.interval()
        return (f'{head} {self.median():8.3f} '
                f'[{low:.3f} {high:.3f}] {self.base_rate():9.0f} '
                f'{self.unit}/s  {self.verdict()}')


HEADING = (f'{"benchmark":<22} {"what":<46} {"ratio":>8} '
           f'{"95 % interval":<15} {"base":>9}')


def paired(result, base, thing, rounds, operations=1, unit='op'):
    """Fill a result with rounds of base, thing, thing, base; both are
    functions that return seconds."""
    result.operations = operations
    result.unit = unit
    for _ in range(rounds):
        before = base()
        spent = thing() + thing()
        after = base()
        result.base_seconds += [before, after]
        result.ratios.append((before + after) / spent)
    return result


def to_json(results, about):
    return json.dumps(
        {'about': about, 'results': [each.as_dictionary()
                                     for each in results]}, indent=2)
