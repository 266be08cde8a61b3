"""What SQLite and Postgres write differently, as pieces of SQL: so views are written once.

Each piece takes SQL expressions and gives one; none takes a value from outside. A *datum* is a
JSON scalar taken apart: its kind in one column, and in another what is left of it, which `CAST`
reads on both databases.
"""

from typing import Protocol


class Dialect(Protocol):
    """How one database says it."""

    #: The clock now, in seconds since 1970; moves within a transaction.
    now: str

    def utc(self, seconds: str) -> str:
        """Write seconds since 1970 as a time in UTC, as Optuna stores times, to a millisecond."""

    def seconds_between(self, begin: str, end: str) -> str:
        """Subtract two times that Optuna stored, to a millisecond."""

    def joined(self, text: str) -> str:
        """Join the texts of a group with a comma."""

    def member(self, json: str, name: str) -> str:
        """Read a member of a JSON object as text."""

    def element(self, json: str, name: str, index: str) -> str:
        """Read an element of an array that is a member of a JSON object as text."""

    def members(self, json: str) -> str:
        """Name the table, for FROM, with one row a member of a JSON object; ``key`` is its name."""

    def member_datum(self, members: str) -> tuple[str, str]:
        """Take the value of a row of `members` apart, into its kind and what is left of it."""

    def choice_datum(self, distribution: str, index: str) -> tuple[str, str]:
        """Take a choice of one of Optuna's categorical distributions apart, likewise."""

    def number_datum(self, number: str) -> str:
        """Write a number as what is left of a datum."""

    def shortest(self, number: str) -> str:
        """Write a double as the shortest text that is read back as the same number."""


class SQLite:
    """From 3.35 on; a datum is a value of any type, true and false are words."""

    now = "((julianday('now') - 2440587.5) * 86400.0)"  # unixepoch('subsec') needs SQLite 3.42

    def utc(self, seconds: str) -> str:
        """SQLite's clock has milliseconds; zeros make the text sort among Optuna's."""
        return f"strftime('%Y-%m-%d %H:%M:%f000', {seconds}, 'unixepoch')"

    def seconds_between(self, begin: str, end: str) -> str:
        """By the texts: julianday() would round each of the two times by itself."""
        of = "(strftime('%s', substr({0}, 1, 19)) + CAST(substr({0}, 20) AS REAL))".format
        return f"round({of(end)} - {of(begin)}, 3)"

    def joined(self, text: str) -> str:
        """In the order of the rows."""
        return f"group_concat({text}, ', ')"

    def member(self, json: str, name: str) -> str:
        """By its path."""
        return f"json_extract({json}, '$.{name}')"

    def element(self, json: str, name: str, index: str) -> str:
        """By its path."""
        return f"json_extract({json}, '$.{name}[' || {index} || ']')"

    def members(self, json: str) -> str:
        """The same name as Postgres's."""
        return f"json_each({json})"

    def member_datum(self, members: str) -> tuple[str, str]:
        """The table has both."""
        return self._datum(f"{members}.type", f"{members}.atom")

    def choice_datum(self, distribution: str, index: str) -> tuple[str, str]:
        """By its path."""
        place = f"{distribution}, '$.attributes.choices[' || {index} || ']'"
        return self._datum(f"json_type({place})", f"json_extract({place})")

    def _datum(self, kind: str, value: str) -> tuple[str, str]:
        is_boolean = f"{kind} IN ('true', 'false')"
        return (
            f"CASE WHEN {is_boolean} THEN 'boolean' ELSE {kind} END",
            f"CASE WHEN {is_boolean} THEN {kind} ELSE {value} END",
        )

    def number_datum(self, number: str) -> str:
        """As it is: its text would lose digits."""
        return number

    def shortest(self, number: str) -> str:
        """CAST gives 15 digits, which are most often enough; 17 always are."""
        fifteen, sixteen, seventeen = (
            f"printf('{form}', {number})" for form in ("%.15g", "%!.16g", "%!.17g")
        )
        return (
            f"CASE {number} WHEN CAST({fifteen} AS REAL) THEN {fifteen} "
            f"WHEN CAST({sixteen} AS REAL) THEN {sixteen} ELSE {seventeen} END"
        )


class Postgres:
    """A datum is always text."""

    # now() would be the transaction's start, stale after waiting for a lock.
    now = "extract(epoch from clock_timestamp())::double precision"

    def utc(self, seconds: str) -> str:
        """Without a time zone, whatever that of the session is."""
        return f"CAST(to_timestamp({seconds}) AT TIME ZONE 'UTC' AS timestamp(3))"

    def seconds_between(self, begin: str, end: str) -> str:
        """The difference is an interval."""
        return f"CAST(round(extract(epoch from ({end} - {begin}))::numeric, 3) AS double precision)"

    def joined(self, text: str) -> str:
        """In the order of the rows."""
        return f"string_agg({text}, ', ')"

    def member(self, json: str, name: str) -> str:
        """By its name."""
        return f"({json}::json ->> '{name}')"

    def element(self, json: str, name: str, index: str) -> str:
        """By its name and place."""
        return f"({json}::json -> '{name}' ->> CAST({index} AS integer))"

    def members(self, json: str) -> str:
        """Not jsonb, which writes 1e-05 as 0.00001 and orders the names anew."""
        return f"json_each({json}::json)"

    def member_datum(self, members: str) -> tuple[str, str]:
        """By the value as JSON."""
        return self._datum(f"{members}.value")

    def choice_datum(self, distribution: str, index: str) -> tuple[str, str]:
        """By its path."""
        return self._datum(
            f"({distribution}::json -> 'attributes' -> 'choices' -> CAST({index} AS integer))"
        )

    def _datum(self, json: str) -> tuple[str, str]:
        is_real = f"{json}::text ~ '[.eE]'"
        return (
            f"CASE json_typeof({json}) WHEN 'string' THEN 'text' WHEN 'number' THEN "
            f"CASE WHEN {is_real} THEN 'real' ELSE 'integer' END ELSE json_typeof({json}) END",
            f"({json} #>> '{{}}')",
        )

    def number_datum(self, number: str) -> str:
        """Its text has every digit."""
        return f"CAST({number} AS text)"

    def shortest(self, number: str) -> str:
        """Its text is the shortest."""
        return f"CAST({number} AS text)"


#: By the names that SQLAlchemy has for them.
DIALECTS: dict[str, Dialect] = {"sqlite": SQLite(), "postgresql": Postgres()}
