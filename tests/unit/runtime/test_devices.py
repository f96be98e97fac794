"""Devices and CPUs of machines that are made of files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from launcher_core.errors import UsageError
from launcher_core.runtime.devices import count, cpus

CPUS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def no_library() -> int | None:
    return None


def three() -> int | None:
    return 3


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def add_nvidia(root: Path, number: int) -> None:
    for index in range(number):
        (root / f"proc/driver/nvidia/gpus/0000:{index:02x}:00.0").mkdir(parents=True)


def add_amd(root: Path, *simds: int) -> None:
    for index, simd in enumerate(simds):
        text = f"cpu_cores_count 0\nsimd_count {simd}\nmem_banks_count 1\n"
        write(root / f"sys/class/kfd/kfd/topology/nodes/{index}/properties", text)


def add_intel(root: Path, name: str, pci: str, driver: str, vendor: str = "0x8086") -> None:
    device = root / "sys/devices/pci0000:00" / pci
    write(device / "vendor", f"{vendor}\n")
    (root / "sys/bus/pci/drivers" / driver).mkdir(parents=True, exist_ok=True)
    (device / "driver").symlink_to(root / "sys/bus/pci/drivers" / driver)
    (root / "sys/class/drm" / name).mkdir(parents=True)
    (root / "sys/class/drm" / name / "device").symlink_to(device)


def test_the_drivers_library_is_believed_first(tmp_path: Path) -> None:
    add_nvidia(tmp_path, 8)
    assert count("gpu", {}, tmp_path, three) == 3


def test_without_the_library_nvidias_directory_is_counted(tmp_path: Path) -> None:
    add_nvidia(tmp_path, 2)
    assert [count(kind, {}, tmp_path, no_library) for kind in ("gpu", "auto")] == [2, 2]


def test_of_amds_topology_only_the_nodes_with_simd_units_count(tmp_path: Path) -> None:
    add_amd(tmp_path, 0, 0, 304, 304)
    assert count("gpu", {}, tmp_path, no_library) == 2


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"ROCR_VISIBLE_DEVICES": "0,1"}, 2),
        ({"HIP_VISIBLE_DEVICES": "0"}, 1),
        ({"CUDA_VISIBLE_DEVICES": "0,1,2"}, 3),
        ({"HIP_VISIBLE_DEVICES": "0,1", "CUDA_VISIBLE_DEVICES": "0"}, 2),
        ({"ROCR_VISIBLE_DEVICES": "2,3", "HIP_VISIBLE_DEVICES": "0,1,2"}, 2),
    ],
)
def test_rocrs_list_applies_before_hips(tmp_path: Path, environ: dict[str, str], expected: int) -> None:
    add_amd(tmp_path, 0, 304, 304, 304, 304)
    assert count("gpu", environ, tmp_path, no_library) == expected


def test_hidden_gpus_leave_the_cpus_to_auto_and_an_error_to_gpu(tmp_path: Path) -> None:
    hidden = {"CUDA_VISIBLE_DEVICES": ""}
    assert count("auto", hidden, tmp_path, three) == CPUS
    with pytest.raises(UsageError) as caught:
        count("gpu", hidden, tmp_path, three)
    assert str(caught.value) == (
        "--nproc-per-node=gpu: 3 here, all hidden by CUDA_VISIBLE_DEVICES=''; change or unset it"
    )


@pytest.mark.parametrize(("kind", "place"), [("gpu", "/proc/driver/nvidia/gpus"), ("xpu", "/sys/class/drm")])
def test_devices_that_are_not_there_are_refused_with_where_they_were_looked_for(
    tmp_path: Path, kind: str, place: str
) -> None:
    with pytest.raises(UsageError, match=f"--nproc-per-node={kind}: there is none .*{place}.*write a number"):
        count(kind, {}, tmp_path, no_library)


def test_intels_cards_are_those_that_a_compute_driver_serves(tmp_path: Path) -> None:
    add_intel(tmp_path, "renderD128", "0000:3a:00.0", "xe")
    add_intel(tmp_path, "renderD129", "0000:9a:00.0", "i915")
    add_intel(tmp_path, "renderD130", "0000:b1:00.0", "vfio-pci")
    add_intel(tmp_path, "renderD131", "0000:b2:00.0", "i915", vendor="0x10de")
    add_intel(tmp_path, "card0", "0000:b3:00.0", "i915")
    assert [count(kind, {}, tmp_path, no_library) for kind in ("xpu", "auto")] == [2, 2]
    assert count("xpu", {"ZE_AFFINITY_MASK": "0.0,0.1"}, tmp_path, no_library) == 1


def test_a_processors_own_graphics_is_an_xpu_but_not_what_auto_counts(tmp_path: Path) -> None:
    add_intel(tmp_path, "renderD128", "0000:00:02.0", "i915")
    assert [count(kind, {}, tmp_path, no_library) for kind in ("xpu", "auto")] == [1, CPUS]


def test_a_machine_without_any_of_this_has_cpus(tmp_path: Path) -> None:
    assert [count(kind, {}, tmp_path, no_library) for kind in ("auto", "cpu")] == [CPUS, CPUS]


def test_half_a_cpu_of_quota_is_one_worker(tmp_path: Path) -> None:
    write(tmp_path / "proc/self/cgroup", "0::/job\n")
    write(tmp_path / "sys/fs/cgroup/job/cpu.max", "50000 100000\n")
    assert cpus(tmp_path) == 1


def test_a_quota_above_this_process_limits_it_too(tmp_path: Path) -> None:
    write(tmp_path / "proc/self/cgroup", "0::/slurm/job7/step0\n")
    write(tmp_path / "sys/fs/cgroup/slurm/job7/step0/cpu.max", "max 100000\n")
    write(tmp_path / "sys/fs/cgroup/slurm/job7/cpu.max", "100000 100000\n")
    assert cpus(tmp_path) == 1


def test_in_a_container_the_quota_is_found_at_the_mount(tmp_path: Path) -> None:
    write(tmp_path / "proc/self/cgroup", "0::/kubepods/pod1/abc\n")
    write(tmp_path / "sys/fs/cgroup/cpu.max", "100000 100000\n")
    assert cpus(tmp_path) == 1


@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
def test_the_quota_of_version_one_is_read_from_two_files(tmp_path: Path, mount: str) -> None:
    write(tmp_path / "proc/self/cgroup", "12:memory:/x\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/x\n0::/x\n")
    write(tmp_path / f"sys/fs/cgroup/{mount}/docker/abc/cpu.cfs_quota_us", "150000\n")
    write(tmp_path / f"sys/fs/cgroup/{mount}/docker/abc/cpu.cfs_period_us", "100000\n")
    assert cpus(tmp_path) == 1


def test_no_quota_is_no_limit(tmp_path: Path) -> None:
    write(tmp_path / "proc/self/cgroup", "4:cpu:/a\n0::/b\nnonsense\n")
    write(tmp_path / "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "-1\n")
    write(tmp_path / "sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000\n")
    write(tmp_path / "sys/fs/cgroup/b/cpu.max", "max 100000\n")
    assert cpus(tmp_path) == CPUS
