//! The programs that are timed from their start to their end, and what they need.

use std::fs;

use anyhow::Result;

use crate::place::Place;

/// One run of a program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    pub(crate) name: &'static str,
    pub(crate) argv: &'static [&'static str],
}

const fn work(name: &'static str, argv: &'static [&'static str]) -> Work {
    Work { name, argv }
}

/// What the compiler works on when nothing else is to be measured: text without any includes.
const CC1: &[&str] =
    &["/usr/lib/gcc/x86_64-linux-gnu/12/cc1", "-quiet", "-O2", "/work/lvm.i", "-o", "/work/lvm.s"];

/// Adds numbers for some tenths of a second.
const PYTHON_SUM: &str = "s = 0\nfor i in range(5_000_000): s = (s + i * i) % 1_000_003\nprint(s)";

/// All of them, in the order of the table.
pub(crate) const WORKS: [Work; 16] = [
    work("static hello", &["/work/hello"]),
    work("python start", &["/usr/bin/python3", "-c", "print(1)"]),
    work("node start", &["/usr/bin/node", "-e", "console.log(1)"]),
    work("java start", &["/usr/bin/java", "-cp", "/work", "Work", "0"]),
    work(
        "busybox dd bs=1 count=20000",
        &["/bin/busybox", "dd", "if=/dev/zero", "of=/dev/null", "bs=1", "count=20000"],
    ),
    work("find over 100,000 files", &["/usr/bin/find", "/work/files", "-size", "+1"]),
    work("sqlite, 2,000 inserts", &["/usr/bin/sqlite3", "/work/db", ".read /work/inserts.sql"]),
    work("sqlite, one large query", &["/usr/bin/sqlite3", "/work/db", ".read /work/query.sql"]),
    work(
        "gcc -O2 -c, one file",
        &["/usr/bin/gcc", "-O2", "-c", "/usr/src/lua5.4/src/ltable.c", "-o", "/work/ltable.o"],
    ),
    work("tar of 4,000 files", &["/usr/bin/tar", "-cf", "/work/t.tar", "-C", "/work/files/0", "."]),
    work("gzip of 16 MiB", &["/usr/bin/gzip", "-1", "-kf", "/work/text"]),
    work(
        "dd bs=1M, 256 MiB written",
        &["/usr/bin/dd", "if=/dev/zero", "of=/work/large", "bs=1M", "count=256", "status=none"],
    ),
    work(
        "dd bs=4k, 64 MiB read",
        &["/usr/bin/dd", "if=/work/large", "of=/dev/null", "bs=4k", "count=16384", "status=none"],
    ),
    work("python, CPU-bound", &["/usr/bin/python3", "-c", PYTHON_SUM]),
    work("java, CPU-bound", &["/usr/bin/java", "-cp", "/work", "Work", "400000000"]),
    work("gcc (cc1 -O2), CPU-bound", CC1),
];

const HELLO: &str = "#include <stdio.h>\nint main(void) { puts(\"hello\"); return 0; }\n";

/// Ends at once, or adds numbers first.
const JAVA: &str = "public class Work {
    public static void main(String[] args) {
        int state = 1;
        for (int i = Integer.parseInt(args[0]); i > 0; i--) {
            state ^= state << 13;
            state ^= state >>> 17;
            state ^= state << 5;
        }
        System.out.println(state);
    }
}
";

/// 100,000 files in 25 directories.
const FILES: &str = "for d in $(seq 0 24); do mkdir -p /work/files/$d && cd /work/files/$d && \
                     seq 4000 | split -l 1 -a 4 -d - f || exit; done";

/// Puts all that [`WORKS`] need into the place.
pub(crate) fn prepare(place: &Place) -> Result<()> {
    let write = |name: &str, text: &str| fs::write(place.inside(name), text);
    write("/work/hello.c", HELLO)?;
    write("/work/Work.java", JAVA)?;
    write("/work/inserts.sql", &inserts(2000))?;
    write("/work/query.sql", QUERY)?;
    for argv in [
        &["/usr/bin/gcc", "-O2", "-static", "/work/hello.c", "-o", "/work/hello"][..],
        &["/usr/bin/javac", "-d", "/work", "/work/Work.java"],
        &["/usr/bin/gcc", "-E", "-P", "/usr/src/lua5.4/src/lvm.c", "-o", "/work/lvm.i"],
        &["/bin/sh", "-c", FILES],
        &["/bin/sh", "-c", "tar -cf - /usr/lib/python3.11 | head -c 16777216 >/work/text"],
        &["/usr/bin/dd", "if=/dev/zero", "of=/work/large", "bs=1M", "count=256", "status=none"],
    ] {
        place.prepare(argv)?;
    }
    Ok(())
}

/// Each is a transaction of its own.
fn inserts(rows: usize) -> String {
    let begin =
        "PRAGMA synchronous = OFF;\nDROP TABLE IF EXISTS t;\nCREATE TABLE t (a INTEGER, b TEXT);\n";
    (0..rows).fold(begin.to_owned(), |text, i| {
        text + &format!("INSERT INTO t VALUES ({i}, 'the text of row {i}');\n")
    })
}

/// Fills a table in memory, sorts and joins it.
const QUERY: &str = "PRAGMA temp_store = MEMORY;
CREATE TEMP TABLE n AS
    WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 200000)
    SELECT x, (x * 7919) % 100003 AS y FROM c;
CREATE INDEX temp.i ON n (y);
SELECT count(*), sum(a.x) FROM n a JOIN n b ON a.y = b.x WHERE b.y % 3 = 0;
";
