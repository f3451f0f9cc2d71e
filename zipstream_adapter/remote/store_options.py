"""The options of obstore's stores that `open_remote` and `store_of` pass on. For type checkers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from datetime import timedelta


class ClientOptions(TypedDict, total=False):
    """Options of the HTTP client."""

    allow_http: bool
    allow_invalid_certificates: bool
    connect_timeout: str | timedelta
    default_content_type: str
    default_headers: Mapping[str, str] | Mapping[str, bytes]
    http1_only: bool
    http2_keep_alive_interval: str
    http2_keep_alive_timeout: str | timedelta
    http2_keep_alive_while_idle: str
    http2_only: bool
    pool_idle_timeout: str | timedelta
    pool_max_idle_per_host: str
    proxy_ca_certificate: str
    proxy_excludes: str
    proxy_url: str
    randomize_addresses: bool
    read_timeout: str | timedelta
    root_certificate: str | bytes
    timeout: str | timedelta
    user_agent: str


class S3Options(TypedDict, total=False):
    """Options of an S3Store."""

    access_key_id: str
    aws_endpoint_url_s3: str
    checksum_algorithm: str
    conditional_put: str
    container_authorization_token_file: str
    container_credentials_full_uri: str
    container_credentials_relative_uri: str
    copy_if_not_exists: str
    default_region: str
    disable_bulk_delete: bool
    disable_tagging: bool
    endpoint: str
    imdsv1_fallback: bool
    metadata_endpoint: str
    region: str
    request_payer: bool | str
    role_arn: str
    role_session_name: str
    s3_express: bool
    secret_access_key: str
    server_side_encryption: str
    session_token: str
    skip_signature: bool
    sse_bucket_key_enabled: bool
    sse_customer_key_base64: str
    sse_kms_key_id: str
    sts_endpoint: str
    unsigned_payload: bool
    virtual_hosted_style_request: bool
    web_identity_token_file: str


class GoogleOptions(TypedDict, total=False):
    """Options of a GCSStore."""

    application_credentials: str
    base_url: str
    bearer_token: str
    service_account: str
    service_account_key: str
    skip_signature: bool


class AzureOptions(TypedDict, total=False):
    """Options of an AzureStore."""

    account_key: str
    account_name: str
    authority_host: str
    client_id: str
    client_secret: str
    credential_type: str
    disable_tagging: bool
    encryption_key: str
    endpoint: str
    fabric_cluster_identifier: str
    fabric_session_token: str
    fabric_token_service_url: str
    fabric_workload_host: str
    federated_token_file: str
    msi_endpoint: str
    msi_resource_id: str
    object_id: str
    sas_key: str
    skip_signature: bool
    tenant_id: str
    token: str
    use_azure_cli: bool
    use_emulator: bool
    use_fabric_endpoint: bool


class StoreOptions(ClientOptions, S3Options, GoogleOptions, AzureOptions, total=False):
    """Options of any store."""

    automatic_cleanup: bool
    client_options: Mapping[str, Any] | None
    config: Mapping[str, Any] | None
    credential_provider: Callable[[], Any] | None
    mkdir: bool
    prefix: str | None
    retry_config: Mapping[str, Any] | None


class ArchiveOptions(StoreOptions, total=False):
    """The options of `open_remote`."""

    window: int
    part_size: int
    store: Any
    size: int | None
    suffix_size: int
    patience: float
    deadline: float | None
