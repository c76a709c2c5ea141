# SPDX-License-Identifier: GPL-3.0-or-later
"""How the demo speaks: chapters, requests with their statuses, and
expectations, each of which is checked."""

import sys

from impacket import nt_errors

BOLD, GREEN, RED, DIM = '1', '32', '31;1', '2'

CODES = {
    0x00098134: 'FSCTL_SET_DEFECT_MANAGEMENT',
    0x00090138: 'FSCTL_QUERY_SPARING_INFO',
    0x0009013C: 'FSCTL_QUERY_ON_DISK_VOLUME_INFO',
    0x00090270: 'FSCTL_SET_PURGE_FAILURE_MODE',
}


def status_name(status):
    known = nt_errors.ERROR_MESSAGES.get(status)
    return known[0] if known else f'status 0x{status:08X}'


class Story:
    def __init__(self):
        self.chapter_number = 0
        self.chapter_title = ''
        self.expectations = 0
        self.surprises = []

    @staticmethod
    def paint(colour, text):
        return f'\033[{colour}m{text}\033[0m' if sys.stdout.isatty() else text

    @staticmethod
    def line(text=''):
        print(text, flush=True)

    def chapter(self, title):
        self.chapter_number += 1
        self.chapter_title = title
        self.line()
        self.line(self.paint(BOLD, f'{self.chapter_number}. {title}'))

    def tell(self, text):
        for line in text.splitlines():
            self.line(f'   {line}')

    def shell(self, words, output):
        """A command that was run, and what it said."""
        self.line(f'   $ {words}')
        for line in output.splitlines():
            self.line(self.paint(DIM, f'     {line}'))

    def request(self, text):
        self.line(f'   --> {text}')

    def fsctl_request(self, who, code, given):
        sent = given.hex(' ') if given else 'nothing'
        self.request(f'{who}: IOCTL {CODES[code]} 0x{code:08X}, '
                     f'input: {sent}')

    def status(self, status, expected, rest=''):
        """The answer to a request; expected: a status, or some."""
        wanted = expected if isinstance(expected, tuple) else (expected,)
        answer = f'<-- {status_name(status)} (0x{status:08X}){rest}'
        if status in wanted:
            self.expectations += 1
            self.line(f'   {self.paint(GREEN, answer)}')
            return True
        self.line(f'   {self.paint(RED, answer)}')
        return self.expect(
            f'the status {" or ".join(map(status_name, wanted))}', False,
            status_name(status))

    def expect(self, what, as_expected, seen=None):
        """Check one thing, and say it."""
        self.expectations += 1
        seen_text = '' if seen is None else f'   [{seen}]'
        if as_expected:
            self.line(f'   {self.paint(GREEN, "ok")}  {what}{seen_text}')
        else:
            self.surprises.append((self.chapter_number, self.chapter_title,
                                   what, seen))
            self.line(f'   {self.paint(RED, "NOT AS EXPECTED")}  '
                      f'{what}{seen_text}')
        return as_expected

    def end(self):
        """The last lines; returns the exit status."""
        self.line()
        if not self.surprises:
            self.line(self.paint(GREEN, 'all as expected') +
                      f' ({self.expectations} things were checked)')
            return 0
        self.line(self.paint(RED, 'not as expected:'))
        for number, title, what, seen in self.surprises:
            rest = '' if seen is None else f': {seen}'
            self.line(f'  {number}. {title}: {what}{rest}')
        return 1
