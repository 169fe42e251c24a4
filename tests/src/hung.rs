//! A file system that does not answer, as one on a network does whose server is gone.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// A directory in which nothing can be opened, and nobody is told so. Dropping it ends the
/// waiting of all with an error.
#[derive(Debug)]
pub struct Hung {
    at: PathBuf,
    /// The kernel's end of it, which nobody reads.
    device: Option<File>,
}

impl Hung {
    /// Mounted at a directory that is made for it. `None`, and says why, where this cannot be
    /// done: only root can, with FUSE in the kernel.
    #[must_use]
    pub fn mount(at: &Path) -> Option<Hung> {
        let mounted = (|| -> std::io::Result<File> {
            fs::create_dir(at)?;
            let device = File::options().read(true).write(true).open("/dev/fuse")?;
            let descriptor = device.as_raw_fd();
            let options = format!("fd={descriptor},rootmode=40000,user_id=0,group_id=0");
            let options = std::ffi::CString::new(options)?;
            let flags = MountFlags::NODEV | MountFlags::NOSUID;
            mount("hung", at, "fuse", flags, Some(options.as_c_str()))?;
            Ok(device)
        })();
        match mounted {
            Ok(device) => Some(Hung {
                at: at.to_owned(),
                device: Some(device),
            }),
            Err(error) => {
                println!("skipped: no file system that hangs can be mounted here: {error}");
                None
            }
        }
    }

    /// Puts a link to a file of it in the place of a file, in one step.
    ///
    /// # Panics
    ///
    /// If the link cannot be made.
    pub fn swallow(&self, file: &Path) {
        let link = file.with_extension("link");
        symlink(self.at.join("file"), &link).expect("a link can be made");
        fs::rename(&link, file).expect("a link can be renamed");
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        drop(self.device.take());
        let _ = unmount(&self.at, UnmountFlags::DETACH);
    }
}
