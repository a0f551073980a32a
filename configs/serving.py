"""The typed shape of the YAML files' ``args``: everything that tunes the service and is no address.

A file is an ordinary Ray Serve config: replicas, autoscaling, queues and ``user_config`` stand under
``deployments`` as Serve defines them; ``args`` is what ``serve_app.main:build_app`` receives.
"""

from __future__ import annotations

from difflib import get_close_matches
from ipaddress import ip_network
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

FASHION_CLIP = "patrickjohncyh/fashion-clip"
FASHION_CLIP_REVISION = "7e3ba62ce16b379a1ab479346b66f192e76f51b7"
MAX_ROWS_IN_FLIGHT = 900  # below the margin of serve_app/photo_quota.py
DType = Literal["auto", "float32", "bfloat16", "float16", "int8"]
Backend = Literal["auto", "torch", "cuda_graphs", "openvino"]


class ClosedModel(BaseModel):
    """Refuses unknown keys, and names the nearest known one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _name_nearest_key(cls, values: Any) -> Any:
        if isinstance(values, dict):
            for key in values:
                if key not in cls.model_fields:
                    raise ValueError(unknown_key(str(key), list(cls.model_fields)))
        return values


def unknown_key(key: str, known: list[str]) -> str:
    """The message for a key that does not exist."""
    nearest = get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f"did you mean '{nearest[0]}'?" if nearest else f"known keys: {', '.join(sorted(known))}"
    return f"unknown key '{key}': {hint}"


class ModelArgs(ClosedModel):
    """Which checkpoint is served."""

    name: str = Field(
        default=FASHION_CLIP, description="Hub name, or a directory in Hugging Face CLIP format."
    )
    revision: str | None = Field(
        default=None, description="Commit of a hub checkpoint; None pins the known one."
    )
    fallback: str | None = Field(
        default=None, description="Directory used, loudly, where `name` is neither cached nor downloadable."
    )
    hub_timeout_s: PositiveFloat = 5.0
    fell_back: bool = Field(default=False, description="Set by the launcher; not meant for files.")


class EmbedderArgs(ClosedModel):
    """How one tower runs inside each of its replicas."""

    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:0, …")
    dtype: DType = Field(default="auto", description="int8 is OpenVINO's.")
    backend: Backend = Field(
        default="auto",
        description="auto: cuda_graphs on a GPU; openvino on a CPU for prompts (extra `cpu`), int8; torch.",
    )
    threads: PositiveInt | None = Field(
        default=None, description="Of the backend; None: the replica's CPU share."
    )


class EmbedderUserConfig(ClosedModel):
    """Live-tunable: a change is applied to running replicas without a restart."""

    max_batch_size: PositiveInt = 16
    batch_wait_timeout_s: float = Field(default=0.0, ge=0.0)


class SearchUserConfig(ClosedModel):
    """Live-tunable batching of search queries."""

    max_batch_size: PositiveInt = 32
    batch_wait_timeout_s: float = Field(default=0.0, ge=0.0)


class CallArgs(ClosedModel):
    """How a process asks the TextEmbedder, the SearchIndex and Chroma: questions that come together share a
    call."""

    text_calls: PositiveInt = Field(default=4, description="Calls to the TextEmbedder at a time.")
    search_calls: PositiveInt = Field(
        default=2, description="Calls to the SearchIndex at a time, and as many to Chroma."
    )
    direct_hits: NonNegativeInt = Field(
        default=64,
        description="Up to so many photos the Ingress asks Chroma itself; for more, the SearchIndex does.",
    )
    per_call: PositiveInt = Field(default=32, description="Prompts or queries of one call.")
    waiting: PositiveInt = Field(
        default=512, description="Prompts or queries that wait for a call; more are answered 503."
    )
    cached_prompts: NonNegativeInt = Field(
        default=10_000,
        description="Prompts whose vectors an Ingress replica remembers, of each model; 0: none.",
    )


class CollectionArgs(ClosedModel):
    """HNSW parameters of new Chroma collections."""

    max_neighbors: PositiveInt = 32
    ef_construction: PositiveInt = 200
    ef_search: PositiveInt = 200


class SearchArgs(ClosedModel):
    """How photos are compared with prompts and with each other."""

    near_duplicate_score: float = Field(
        default=0.98, gt=0, le=1, description="From this cosine similarity on, two photos look the same."
    )
    floor_quiet_s: float = Field(
        default=5.0, ge=0, description="Rest of a catalogue before its score floor is computed."
    )
    floor_at_most_s: float = Field(
        default=60.0, ge=0, description="The longest wait for that rest, while photos keep coming."
    )
    exact_photos: PositiveInt = Field(
        default=3_000, le=100_000, description="Up to so many matching photos are compared one by one."
    )
    max_exact_photos: PositiveInt = Field(
        default=100_000, description="The same, where the index alone does not find enough of them."
    )
    cache_mb: PositiveInt = Field(
        default=256, description="Vectors that each SearchIndex replica keeps in memory, in 2**20 bytes."
    )


class TagArgs(ClosedModel):
    """When the model's confidence in a term counts. Confidences of one vocabulary add up to 1."""

    min_confidence: float = Field(
        default=0.6, gt=0, le=1, description="From which a term is filled in where the shop left it out."
    )
    contradicted_below: float = Field(
        default=0.05, ge=0, le=1, description="A stated category less likely than this may be wrong …"
    )
    contradicted_by: float = Field(
        default=0.5, gt=0, le=1, description="… where another is at least as likely as this."
    )


class IndexerArgs(ClosedModel):
    """Background work: how it is claimed, cut and retried."""

    claim_size: PositiveInt = Field(default=32, description="Photos per Ray task.")
    max_tasks: PositiveInt = Field(
        default=2, description="Ray tasks in flight; of those that embed, for each replica of ImageEmbedder."
    )
    few_photos: PositiveInt = Field(
        default=4, description="Uploads of a shop with at most so many waiting do not wait for bulk work."
    )
    embed_batch: PositiveInt = Field(
        default=8, description="Photos per call to the embedder (≤ 24: 4 MB limit)."
    )
    task_num_cpus: float = Field(default=0.25, gt=0)
    lease_s: PositiveFloat = Field(
        default=60.0, description="A crashed task's photos are claimed again after this."
    )
    max_attempts: PositiveInt = Field(default=5, description="Crashes after which a photo is `failed`.")
    retry_delay_s: PositiveFloat = 2.0
    poll_interval_s: PositiveFloat = 0.25

    @model_validator(mode="after")
    def _fits_message_limit(self) -> Self:
        if self.embed_batch > 24:
            raise ValueError(
                f"embed_batch is {self.embed_batch}: calls between deployments carry at most 4 MB, "
                "which is 24 photos of 224 px; use 24 or less"
            )
        return self


class ImportArgs(ClosedModel):
    """Import jobs: what a feed may be, and how it is cut into tasks."""

    max_bytes: PositiveInt = Field(default=2 * 2**30, description="Of one uploaded feed or ZIP.")
    max_waiting: PositiveInt = Field(default=20, description="Imports of one shop that are not finished.")
    max_rows: PositiveInt = Field(default=1_000_000, description="Of one feed.")
    max_errors: PositiveInt = Field(
        default=10_000, description="Broken rows that are kept to be read; further ones are counted only."
    )
    max_removed_share: float = Field(
        default=0.3, ge=0, le=1, description="Share of a catalogue that a full import removes unconfirmed."
    )
    batch_rows: PositiveInt = Field(default=64, description="Rows per Ray task and transaction.")
    max_tasks: PositiveInt = Field(default=2, description="Ray tasks that one job has in flight.")
    max_jobs: PositiveInt = Field(default=2, description="Jobs that work at the same time, one of a shop.")
    slice_s: PositiveFloat = Field(
        default=20.0, description="After this a job lets the next one work, and goes on later."
    )
    keep_days: PositiveInt = Field(
        default=30, description="How long a finished job and its errors can be read."
    )

    @model_validator(mode="after")
    def _fits_quota_margin(self) -> Self:
        if self.batch_rows * self.max_tasks > MAX_ROWS_IN_FLIGHT:
            raise ValueError(
                f"batch_rows {self.batch_rows} by max_tasks {self.max_tasks} is more than "
                f"{MAX_ROWS_IN_FLIGHT}, the most rows that one job may have in flight; lower one of them"
            )
        return self


class FetchArgs(ClosedModel):
    """Photos that imports name by URL, and webhooks: all that the service asks of other servers."""

    photos: bool = Field(default=False, description="Whether imports may name photos by URL at all.")
    allow_http: bool = Field(default=False, description="Also http://, which anyone on the way can read.")
    allowed_networks: tuple[str, ...] = Field(
        default=(), description="Networks that are no public ones, and may be asked all the same."
    )
    per_host: PositiveInt = Field(default=4, description="Requests at one host at a time, of one task.")
    timeout_s: PositiveFloat = Field(
        default=20.0, description="Of one attempt, from look-up to last byte, redirects included."
    )
    attempts: PositiveInt = Field(default=4, description="Tries of one photo before its row is broken.")
    retry_s: PositiveFloat = Field(
        default=1.0, description="Before a second attempt, at a photo or a webhook; doubles each time."
    )
    max_redirects: int = Field(default=3, ge=0, description="Each is checked as the first address is.")

    @field_validator("allowed_networks")
    @classmethod
    def _are_networks(cls, networks: list[str]) -> list[str]:
        for network in networks:
            ip_network(network)
        return networks


class ReindexArgs(ClosedModel):
    """A new model beside the live one (`python -m scripts.reindex`)."""

    partition_photos: PositiveInt = Field(default=256, description="Photos per Ray task.")
    embed_batch: PositiveInt = Field(
        default=16, description="Photos per call to an actor; a GPU wants 128 to 256."
    )
    max_tasks: PositiveInt = Field(default=2, description="Ray tasks in flight.")
    actors: PositiveInt = Field(default=1, description="Actors that embed, each with a copy of the model.")
    actor_num_cpus: float = Field(default=0.3, ge=0, description="CPU share of each of them.")
    actor_num_gpus: float | None = Field(
        default=None, ge=0, description="GPU share of each of them; None: 0.2 where there is a GPU."
    )
    max_regression: float = Field(
        default=0.02, ge=0, le=1, description="Loss of recall@1, recall@10 or MRR@10 that stops the flip."
    )
    min_overlap: float = Field(
        default=0.0, ge=0, le=1, description="Least overlap@10 of recent prompts between the versions."
    )


class AuditArgs(ClosedModel):
    """The comparison of the search index with PostgreSQL, in the background."""

    every_h: PositiveFloat = Field(default=24.0, description="How often each collection is compared.")
    sample: PositiveInt = Field(
        default=1000,
        description="Photos of a collection that have to be found by their own vector. Catalogues up to this "
        "size are compared whenever they rest after a change, too.",
    )
    repair: bool = Field(default=True, description="Repair what is found, not only report it.")
    page_photos: PositiveInt = Field(default=250, description="Photos that are compared at once.")
    pause_s: float = Field(
        default=0.05, ge=0, description="Rest between two pages of the background check, for the shoppers."
    )
    poll_interval_s: PositiveFloat = Field(
        default=30.0, description="How often the background check looks for a collection that is due."
    )


class PhotoArgs(ClosedModel):
    """What an upload may be."""

    max_bytes: PositiveInt = 20 * 2**20
    max_pixels: PositiveInt = 25_000_000
    url_lifetime_s: PositiveInt = 3600


class LimitArgs(ClosedModel):
    """What a shop may use unless its row says otherwise; None is no limit."""

    key_requests_per_minute: PositiveInt | None = 12_000
    shop_requests_per_minute: PositiveInt | None = 24_000
    prompts_per_day: PositiveInt | None = 2_000_000
    photos: PositiveInt | None = 1_000_000
    signups_per_hour: PositiveInt | None = Field(default=60, description="From one client address.")
    logins_per_minute: PositiveInt | None = Field(
        default=10, description="Failed staff logins from one client address; 10 times that for one e-mail."
    )


class AccountArgs(ClosedModel):
    """Sign-up, keys, mail, staff."""

    link_lifetime_h: PositiveFloat = Field(default=24.0, description="Of a sign-up link, from its mail on.")
    mails_per_day: PositiveInt = Field(default=5, description="Sign-up mails to one address.")
    mail_retry_s: PositiveFloat = Field(
        default=5.0, description="Pause before a mail is tried again; doubles each time, up to 15 min."
    )
    mail_lease_s: PositiveFloat = Field(
        default=60.0, description="A crashed worker's mail is sent after this."
    )
    key_overlap_h: PositiveFloat = Field(default=24.0, description="How long a rotated key still works.")
    publishable_max_images: PositiveInt = Field(
        default=20, description="Largest number_of_images for publishable keys that name none."
    )
    key_check_s: PositiveFloat = Field(
        default=1.5, le=3.0, description="How often cached keys are compared with the database."
    )
    session_h: PositiveFloat = Field(default=12.0, description="How long a staff login lasts.")


class TimeoutArgs(ClosedModel):
    """Upper limits of one request's steps, in seconds."""

    embed_s: PositiveFloat = 10.0
    search_s: PositiveFloat = 10.0


class AppArgs(ClosedModel):
    """All of ``args``."""

    model: ModelArgs = ModelArgs()
    text_embedder: EmbedderArgs = EmbedderArgs()
    image_embedder: EmbedderArgs = EmbedderArgs()
    calls: CallArgs = CallArgs()
    collection: CollectionArgs = CollectionArgs()
    search: SearchArgs = SearchArgs()
    tags: TagArgs = TagArgs()
    indexer: IndexerArgs = IndexerArgs()
    imports: ImportArgs = ImportArgs()
    fetch: FetchArgs = FetchArgs()
    reindex: ReindexArgs = ReindexArgs()
    audit: AuditArgs = AuditArgs()
    photos: PhotoArgs = PhotoArgs()
    timeouts: TimeoutArgs = TimeoutArgs()
    limits: LimitArgs = LimitArgs()
    accounts: AccountArgs = AccountArgs()
    database_connections: PositiveInt = Field(
        default=8, description="Pool size of each process that reads rows."
    )
