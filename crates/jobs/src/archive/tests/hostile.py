# Writes an archive to stdout, by Python's tarfile and the program zstd. What is in it, the test
# puts in below. argv[1]: an archive that Offtake wrote, whose members are in `good`.
import io, subprocess, sys, tarfile

tarfile.RECORDSIZE = 512  # no padding behind the two blocks that end a tar
plain = subprocess.run(["zstd", "-dcq", sys.argv[1]], check=True, stdout=subprocess.PIPE).stdout
with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
    good = [(member.name, archive.extractfile(member).read()) for member in archive]

file = io.BytesIO()
out = tarfile.TarFile(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT)


def info(name, data):
    header = tarfile.TarInfo(name)
    header.size, header.mode, header.mtime = len(data), 0o600, 0
    return header


def add(name, data):
    out.addfile(info(name, data), io.BytesIO(data))


def put(member):
    add(*member)


def keep(count=None):
    for member in good[:count]:
        put(member)


def link(kind):
    keep(1)
    header = info("data/users/000000.copy", b"")
    header.type, header.linkname = kind, "/etc/passwd"
    out.addfile(header)


def raw(data):
    out.fileobj.write(data)
    out.offset += len(data)


SCRIPT
out.close()
sys.stdout.buffer.write(
    subprocess.run(["zstd", "-qc"], input=file.getvalue(), check=True, stdout=subprocess.PIPE).stdout
)
