//! What is written is read back, by us and by GNU tar; what anything else writes is refused.

use std::io::Write as _;
use std::process::{Command, Stdio};

use bytes::Bytes;

use super::*;

fn contents(folders: &[&str]) -> Contents {
    let table = |folder: &&str| Table {
        folder: (*folder).to_owned(),
        mapping: (*folder).to_owned(),
        version: "0123456789abcdef".into(),
        table: (*folder).to_owned(),
        columns: vec![Column { name: "id".into(), sql_type: "bigint".into() }],
        key: vec!["id".into()],
    };
    Contents {
        offtake_snapshot: FORMAT,
        id: "snap_20261128-031300_k7f3a2".into(),
        kind: Kind::Rows,
        tenant: "acme".into(),
        created_at: "2026-11-28T03:13:00Z".into(),
        epoch: "5f0c".into(),
        sequence_id: 184_502,
        offtake: "0.1.0".into(),
        server: "15.14".into(),
        narrowed: false,
        tables: folders.iter().map(table).collect(),
    }
}

fn write(tables: &[(&str, &[&[u8]])]) -> (Vec<u8>, Manifest) {
    let folders: Vec<&str> = tables.iter().map(|(folder, _)| *folder).collect();
    let mut writer = Writer::new(&contents(&folders)).unwrap();
    let mut file = writer.take();
    for (_, pieces) in tables {
        for piece in *pieces {
            writer.lines(piece).unwrap();
            file.extend(writer.take());
        }
        writer.end_table().unwrap();
    }
    let schemas: Vec<String> = folders.iter().map(|folder| format!("create {folder};\n")).collect();
    let rest = writer.end(&schemas).unwrap();
    file.extend(rest.bytes);
    (file, rest.manifest)
}

fn small() -> (Vec<u8>, Manifest) {
    write(&[("users", &[b"1\n2\n", b"3\n"]), ("teams", &[]), ("members", &[b"9\n"])])
}

/// The lines of each table, and the manifest.
fn read(file: &[u8], step: usize) -> Result<(Vec<Vec<u8>>, Manifest), Refused> {
    read_by(Reader::new()?, file, step)
}

fn read_by(
    mut reader: Reader,
    file: &[u8],
    step: usize,
) -> Result<(Vec<Vec<u8>>, Manifest), Refused> {
    let mut tables = Vec::new();
    for piece in file.chunks(step) {
        reader.feed(Bytes::copy_from_slice(piece));
        while let Some(member) = reader.take()? {
            match member {
                Member::Contents(contents) => tables.resize(contents.tables.len(), Vec::new()),
                Member::Data { table, lines } => tables[table].extend_from_slice(&lines),
                _ => {}
            }
        }
    }
    Ok((tables, reader.end()?))
}

#[test]
fn what_is_written_is_read_whatever_the_pieces_are() {
    let (file, manifest) = small();
    for step in [1, 7, 512, file.len()] {
        let (tables, read) = read(&file, step).unwrap();
        assert_eq!(tables, [&b"1\n2\n3\n"[..], b"", b"9\n"]);
        assert_eq!(read, manifest);
    }
    assert_eq!(manifest.rows, [3, 0, 1]);
    let again = Reader::again(manifest.clone()).unwrap();
    assert_eq!(read_by(again, &file, 100).unwrap().1, manifest);
}

#[test]
fn an_archive_without_tables_is_one() {
    let (file, manifest) = write(&[]);
    assert_eq!(read(&file, 64).unwrap(), (Vec::new(), manifest));
}

#[test]
fn a_member_ends_with_a_line_unless_a_line_is_larger() {
    let line = [&[b'a'; 3000][..], b"\n"].concat();
    let many = line.repeat(MEMBER_BYTES_MAX / line.len() + 10);
    let large = [&vec![b'b'; MEMBER_BYTES_MAX + 5][..], b"\n"].concat();
    let (file, manifest) = write(&[("many", &[&many]), ("large", &[&large])]);
    let sizes: Vec<(&str, u64, u64)> =
        manifest.members.iter().map(|m| (m.name.as_str(), m.size, m.rows)).collect();
    let whole = (MEMBER_BYTES_MAX / line.len()) as u64;
    assert_eq!(sizes[1], ("data/many/000000.copy", whole * line.len() as u64, whole));
    assert_eq!(sizes[2].2, 10);
    assert_eq!(sizes[3], ("data/large/000000.copy", MEMBER_BYTES_MAX as u64, 0));
    assert_eq!(sizes[4], ("data/large/000001.copy", 6, 1));
    assert_eq!(read(&file, 65_536).unwrap().0, [many, large]);
}

#[test]
fn rows_that_are_all_alike_are_no_bomb() {
    let piece = b"the same text in each row\n".repeat(40_000);
    let (file, manifest) = write(&[("alike", &[&piece[..]; 120])]);
    assert!(manifest.bytes > FREE_BYTES + 1000 * 30_000, "more than a frame without fill may have");
    assert!(file.len() < 2 << 20, "{} bytes", file.len());
    let (tables, _) = read(&file, 1 << 20).unwrap();
    assert_eq!(tables[0].len(), piece.len() * 120);
}

#[test]
fn a_cut_or_a_flipped_bit_anywhere_is_refused() {
    let (file, _) = small();
    for length in (0..file.len()).step_by(3) {
        assert!(read(&file[..length], 99).is_err(), "cut at {length}");
    }
    // One bit of every third byte, another one each time.
    for bit in (0..file.len()).step_by(3).map(|at| at * 8 + at % 8) {
        let mut flipped = file.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        // Some bits of a frame mean nothing. What is read is then all that was written.
        if let Ok((tables, _)) = read(&flipped, 99) {
            assert_eq!(tables, [&b"1\n2\n3\n"[..], b"", b"9\n"], "bit {bit}");
        }
    }
}

#[test]
fn what_follows_the_frame_is_refused() {
    let (file, _) = small();
    for extra in [&b"x"[..], &file, &[0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]] {
        assert_eq!(read(&[&file[..], extra].concat(), 4096), Err(Refused::Trailing));
    }
    let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0], &file[..]].concat();
    assert_eq!(read(&skipped, 4096), Err(Refused::NotZstd));
    assert_eq!(read(b"", 1), Err(Refused::NotZstd));
}

#[test]
fn a_second_pass_refuses_another_archive() {
    let (_, manifest) = small();
    let (other, _) = write(&[("users", &[b"1\n2\n4\n"]), ("teams", &[]), ("members", &[b"9\n"])]);
    let refused = read_by(Reader::again(manifest).unwrap(), &other, 4096).unwrap_err();
    assert_eq!(refused, Refused::Differs { name: "data/users/000000.copy".into() });
}

#[test]
fn a_name_has_one_spelling() {
    let good = ["snapshot.json", "data/users/000000.copy", "fill/000009", "schema/u-1_x.sql"];
    for name in good {
        assert_eq!(Name::parse(name).unwrap().to_string(), name);
    }
    let bad = [
        "",
        "/snapshot.json",
        "./snapshot.json",
        "../x",
        "data/../x/000000.copy",
        "data//000000.copy",
        "data/users/0.copy",
        "data/users/+00000.copy",
        "data/users/000000.copy/",
        "data/ü/000000.copy",
        "data/users/000000.COPY",
        "fill/0000001",
        "schema/a b.sql",
        "schema/.sql",
        "manifest.json ",
        "data/a\\b/000000.copy",
    ];
    for name in bad {
        assert_eq!(Name::parse(name), None, "{name}");
    }
    let longest = "x".repeat(FOLDER_CHARS_MAX);
    assert!(Name::parse(&format!("data/{longest}/000000.copy")).is_some());
    assert!(Name::parse(&format!("data/{longest}x/000000.copy")).is_none());
}

/// Whether the program zstd is there; a test that needs it is skipped otherwise.
fn has_zstd() -> bool {
    let found = Command::new("zstd").arg("-V").output().is_ok();
    if !found {
        eprintln!("skipped: zstd is not installed\n  remedy: scripts/ensure-tools");
    }
    found
}

/// GNU tar and zstd are what people have.
#[test]
fn gnu_tar_lists_and_unpacks_what_is_written() {
    if !has_zstd() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tar.zst");
    std::fs::write(&path, small().0).unwrap();
    let tar = |arguments: &[&str]| {
        let output = Command::new("tar")
            .args(["--zstd", "-f"])
            .arg(&path)
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        String::from_utf8(output.stdout).unwrap()
    };
    let names = "snapshot.json\ndata/users/000000.copy\ndata/members/000000.copy\n\
                 schema/users.sql\nschema/teams.sql\nschema/members.sql\nmanifest.json\n";
    assert_eq!(tar(&["-t"]), names);
    tar(&["-x"]);
    let unpacked = std::fs::read(folder.path().join("data/users/000000.copy")).unwrap();
    assert_eq!(unpacked, b"1\n2\n3\n");
    let tested = Command::new("zstd").args(["-q", "-t"]).arg(&path).status().unwrap();
    assert!(tested.success());
}

/// Archives that Python's tarfile makes out of what is left of a good one, and what each is refused
/// with. Each script has `good`, the members of a good archive, and `out`, a tar that is open.
#[test]
fn hostile_archives_are_refused() {
    if !has_zstd() {
        return;
    }
    let cases: &[(&str, &str)] = &[
        ("keep()", ""),
        ("add('../x', b'x')", "no member of a snapshot is called `../x`"),
        ("add('/etc/cron.d/x', b'x')", "no member of a snapshot is called `/etc/cron.d/x`"),
        (
            "keep(1); add('data/users/../../000000.copy', b'x')",
            "no member of a snapshot is called `data/users/../../000000.copy`",
        ),
        ("link(tarfile.LNKTYPE)", "is a hard link"),
        ("link(tarfile.SYMTYPE)", "is a symbolic link"),
        ("link(tarfile.CHRTYPE)", "is a device"),
        ("link(tarfile.BLKTYPE)", "is a device"),
        ("link(tarfile.DIRTYPE)", "is a folder"),
        ("link(tarfile.FIFOTYPE)", "is a pipe"),
        ("link(tarfile.CONTTYPE)", "is of an unknown type"),
        ("link(tarfile.AREGTYPE)", "is of an unknown type"),
        ("keep(2); add('data/users/000000.copy', b'1\\n')", "is there twice"),
        ("keep(); add('data/users/000001.copy', b'1\\n')", "is there twice"),
        ("keep(1); add('data/members/000001.copy', b'1\\n')", "is not where it belongs"),
        (
            "keep(1); i = info('data/users/000000.copy', b''); i.pax_headers = {'size': '8'}; \
             out.format = tarfile.PAX_FORMAT; out.addfile(i)",
            "is a PAX extension",
        ),
        (
            "out.format = tarfile.GNU_FORMAT; add('data/' + 'a' * 200 + '/000000.copy', b'')",
            "is a GNU extension",
        ),
        ("out.format = tarfile.GNU_FORMAT; keep()", "is not of the form that Offtake writes"),
        ("keep(1); i = info('fill/000000', b''); i.mtime = 1; out.addfile(i)", "not of the form"),
        (
            "keep(1); i = info('fill/000000', b''); i.mode = 0o4755; out.addfile(i)",
            "not of the form",
        ),
        ("keep(1); add('fill/000000', bytes((8 << 20) + 1))", "a member has at most 8 MiB"),
        (
            "keep(1)\nfor at in range(40): add(f'fill/{at:06}', bytes(8 << 20))",
            "which is more than a snapshot has",
        ),
        ("keep(len(good) - 1)", "ends without `manifest.json`"),
        ("[put(m) for m in good[:1] + good[-1:] + good[1:-1]]", "`manifest.json` is not where"),
        ("[put(m) for m in good[:1] + good[2:]]", "is not the one that `manifest.json` lists"),
        (
            "keep(1); add(good[1][0], good[1][1].replace(b'2', b'4')); [put(m) for m in good[2:]]",
            "`data/users/000000.copy` is not the one that `manifest.json` lists",
        ),
        ("keep(1); raw(bytes(512) + b'x' * 512)", "ends without `manifest.json`"),
        ("keep(); raw(bytes(1024))", "something follows the end"),
        ("add('snapshot.json', b'{}')", "`snapshot.json` is not as this version"),
        (
            "add('snapshot.json', good[0][1].replace(b'\"users\"', b'\"../u\"'))",
            "`snapshot.json` is not",
        ),
    ];
    let good = tempfile::tempdir().unwrap();
    let path = good.path().join("good.tar.zst");
    std::fs::write(&path, small().0).unwrap();
    for (script, expected) in cases {
        let hostile = hostile(&path, script);
        let answer = match read(&hostile, 65_536) {
            Ok(_) => String::new(),
            Err(refused) => refused.to_string(),
        };
        let fits = if expected.is_empty() { answer.is_empty() } else { answer.contains(expected) };
        assert!(fits, "{script}: `{answer}`, expected `{expected}`");
    }
}

/// What Python writes, compressed by the program zstd.
fn hostile(good: &std::path::Path, script: &str) -> Vec<u8> {
    let program = include_str!("tests/hostile.py").replace("SCRIPT", script);
    let mut python = Command::new("python3")
        .args(["-", &good.to_string_lossy()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(program.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{script}");
    output.stdout
}
