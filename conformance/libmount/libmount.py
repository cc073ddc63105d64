"""What crun's tests of mounts use of util-linux's module of this name, which Debian does not have."""


class Mount:
    """A line of mountinfo: proc_pid_mountinfo(5)."""

    def __init__(self, line):
        own, _, file_system = line.partition(" - ")
        own, file_system = own.split(" "), file_system.split(" ")
        self.target = own[4]
        self.vfs_options = own[5]
        self.fs_options = file_system[2]


class Table:
    """A file of such lines."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            self.mounts = [Mount(line.rstrip("\n")) for line in file if " - " in line]

    def find_target(self, target):
        """The uppermost mount there."""
        return next((mount for mount in reversed(self.mounts) if mount.target == target), None)
