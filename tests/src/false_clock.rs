//! Clocks of a machine that a test sets: a library that the daemons of a cluster are
//! started with answers what the system would be asked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::cluster::{Cluster, ClusterBuilder};

/// Moves the wall clock of a process, the clock since the machine's start, and, where it is told
/// to, the clock that nobody sets, by the seconds that files say, and no other clock; tells it
/// another life of the machine.
const LIBRARY: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static time_t offset(const char *variable) {
    char text[32] = {0};
    const char *path = getenv(variable);
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return 0;
    if (read(file, text, sizeof text - 1) < 0)
        text[0] = 0;
    close(file);
    return strtol(text, NULL, 10);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += offset("WALL_CLOCK_OFFSET");
    if (!failed && clock == CLOCK_BOOTTIME)
        now->tv_sec += offset("BOOT_CLOCK_OFFSET");
    if (!failed && clock == CLOCK_MONOTONIC)
        now->tv_sec += offset("MONOTONIC_CLOCK_OFFSET");
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    int failed = syscall(SYS_gettimeofday, now, zone);
    if (!failed)
        now->tv_sec += offset("WALL_CLOCK_OFFSET");
    return failed;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = va_arg(more, mode_t);
    va_end(more);
    const char *boot = getenv("BOOT_ID");
    if (boot && !strcmp(path, "/proc/sys/kernel/random/boot_id"))
        path = boot;
    return syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}
"#;

/// The clocks, to be set at any time.
#[derive(Debug)]
pub struct FalseClock {
    directory: TempDir,
}

impl FalseClock {
    /// Clocks that are right. `None`, and says why, where there is no C compiler.
    ///
    /// # Panics
    ///
    /// If files cannot be made, or the compiler does not take the library.
    #[must_use]
    pub fn make() -> Option<FalseClock> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let source = directory.path().join("clock.c");
        fs::write(&source, LIBRARY).expect("a directory of our own");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .args([directory.path().join("clock.so"), source])
            .output();
        match compiled {
            Ok(output) if output.status.success() => {}
            Err(why) => {
                eprintln!("skipped: there is no C compiler: {why}");
                return None;
            }
            // No reason to skip: nobody would notice.
            Ok(output) => panic!("{}", String::from_utf8_lossy(&output.stderr)),
        }
        let clock = FalseClock { directory };
        clock.set_wall(0);
        clock.set_since_boot(0);
        clock.let_run(0);
        clock.boot(1);
        Some(clock)
    }

    /// A cluster whose daemons go by these clocks.
    ///
    /// # Panics
    ///
    /// If the temporary directory has no name in UTF-8.
    #[must_use]
    pub fn cluster(&self) -> ClusterBuilder {
        let path = |name| {
            self.path(name)
                .to_str()
                .expect("a name in UTF-8")
                .to_owned()
        };
        Cluster::builder()
            .environment("LD_PRELOAD", &path("clock.so"))
            .environment("WALL_CLOCK_OFFSET", &path("wall"))
            .environment("BOOT_CLOCK_OFFSET", &path("since-boot"))
            .environment("BOOT_ID", &path("boot-id"))
    }

    /// A cluster whose daemons measure time by such a clock, too ([`FalseClock::let_run`]). Each
    /// look at it takes them longer than at a clock of the system.
    ///
    /// # Panics
    ///
    /// As for [`FalseClock::cluster`].
    #[must_use]
    pub fn cluster_that_runs(&self) -> ClusterBuilder {
        let path = self.path("monotonic");
        let path = path.to_str().expect("a name in UTF-8");
        self.cluster().environment("MONOTONIC_CLOCK_OFFSET", path)
    }

    /// Lets so many seconds more have gone by since the daemons of
    /// [`FalseClock::cluster_that_runs`] were started: what they wait for is due by that.
    pub fn let_run(&self, seconds: u32) {
        write(&self.path("monotonic"), &seconds.to_string());
    }

    /// Puts the wall clock ahead by so many seconds, or behind.
    pub fn set_wall(&self, seconds: i64) {
        write(&self.path("wall"), &seconds.to_string());
    }

    /// Lets so many seconds more have gone by since the machine was started.
    pub fn set_since_boot(&self, seconds: i64) {
        write(&self.path("since-boot"), &seconds.to_string());
    }

    /// Lets time go by: so many seconds in all, by every clock that people and the system
    /// go by over a day.
    pub fn let_pass(&self, seconds: i64) {
        self.set_wall(seconds);
        self.set_since_boot(seconds);
    }

    /// Begins another life of the machine, by its number.
    pub fn boot(&self, number: u32) {
        let id = format!("{number:08x}-0000-4000-8000-000000000000\n");
        write(&self.path("boot-id"), &id);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// In one step, since the daemons may be reading it.
fn write(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).expect("a directory of our own");
    fs::rename(&new, path).expect("a directory of our own");
}
