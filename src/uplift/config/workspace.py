"""A workspace: a folder with ``uplift.yaml``, and where everything in it lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator

from uplift.config._yaml import Share, Spec, read_spec
from uplift.errors import ConfigError

FILE_NAME = "uplift.yaml"


class WorkspaceConfig(Spec):
    """What ``uplift.yaml`` holds.

    Attributes
    ----------
    data
        Folder of tables (Parquet or CSV) or a DuckDB file, relative to the workspace.
    engine
        Where relational work runs.
    tracking
        MLflow tracking address; a relative SQLite path is relative to the workspace.
    timezone
        IANA name. Calendar features (weekday, hour, day) and dates without a zone are read in it.
    currency
        ISO 4217 code; amounts are integer cents in the tables, units in what people read.
    language
        Of what is printed first; reports are always built in both.
    pack
        Industry pack, or None.
    holdout, explore
        Share of members never contacted, and share of the others whose offer is drawn at random.
    min_cell
        Members, arm sizes and converters below this are suppressed in reports; at least 5.
    margin
        Gross margin assumed where orders carry no cost.
    budget
        Money (units) that one run of ``recommend`` may spend; None is no limit.
    """

    data: str
    engine: Literal["duckdb"] = "duckdb"
    tracking: str = "sqlite:///mlflow/store/mlflow.db"
    timezone: str = "Asia/Shanghai"
    currency: str = Field(default="CNY", pattern=r"^[A-Z]{3}$")
    language: Literal["zh", "en"] = "zh"
    pack: str | None = None
    holdout: Share = 0.05
    explore: Share = 0.05
    min_cell: int = Field(default=11, ge=5)
    margin: Share = 0.4
    budget: float | None = Field(default=None, ge=0)

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError("not an IANA time zone; expected a name such as Asia/Shanghai") from None
        return name


@dataclass(frozen=True)
class Workspace:
    """An opened workspace. Every path that the package reads or writes is named here."""

    root: Path
    config: WorkspaceConfig

    @classmethod
    def open(cls, folder: str | Path = ".") -> Workspace:
        """Read ``folder/uplift.yaml``.

        Raises
        ------
        ConfigError
            If it is absent or wrong.
        """
        root = Path(folder).resolve()
        path = root / FILE_NAME
        if not path.is_file():
            raise ConfigError(
                f"{folder}: no {FILE_NAME} here, so this is not a workspace; "
                "use -C DIR to name one, `uplift simulate DIR` to make one, or `uplift import` to bring data in"
            )
        return cls(root, read_spec(path, WorkspaceConfig))

    @property
    def zone(self) -> ZoneInfo:
        """The workspace's time zone."""
        return ZoneInfo(self.config.timezone)

    @property
    def data(self) -> Path:
        """The folder of tables, or the DuckDB file."""
        return self.root / self.config.data

    @property
    def checked(self) -> Path:
        """Clean copies of tables that needed one, and the record of the last check."""
        return self.root / ".uplift" / "checked"

    @property
    def quarantine(self) -> Path:
        """Rows that break the contract, one Parquet file a table, with reasons."""
        return self.root / "quarantine"

    @property
    def truth(self) -> Path:
        """True effects of a simulated workspace; read by tests and demonstrations only."""
        return self.root / "truth"

    @property
    def experiments(self) -> Path:
        """Experiment definitions."""
        return self.root / "experiments"

    @property
    def models(self) -> Path:
        """Model specifications."""
        return self.root / "models"

    @property
    def features(self) -> Path:
        """Feature tables by as-of date."""
        return self.root / "features"

    @property
    def segments(self) -> Path:
        """Segment tables by as-of date."""
        return self.root / "segments"

    @property
    def decisions(self) -> Path:
        """Decision runs and the pointer to the latest."""
        return self.root / "decisions"

    @property
    def reports(self) -> Path:
        """The site that marketing reads."""
        return self.root / "reports"

    @property
    def runs(self) -> Path:
        """Runs written locally before they are delivered to MLflow."""
        return self.root / "runs"

    @property
    def tracking_uri(self) -> str:
        """MLflow's address, with a relative SQLite path made absolute."""
        uri = self.config.tracking
        prefix = "sqlite:///"
        if uri.startswith(prefix) and not uri.startswith(prefix + "/"):
            return prefix + str(self.root / uri.removeprefix(prefix))
        return uri
