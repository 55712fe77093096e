//! Model files on disk that go away with the test.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder of its own below the system's temporary one, removed on drop.
#[derive(Debug)]
pub struct ModelDir {
    directory: PathBuf,
    path: PathBuf,
}

impl ModelDir {
    /// An empty folder; `name` makes it recognisable.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn new(name: &str) -> ModelDir {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = env::temp_dir().join(format!("puna-{name}-{}-{count}", process::id()));
        fs::create_dir_all(&directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
        ModelDir { path: directory.clone(), directory }
    }

    /// Writes a file into it.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.directory.join(name);
        fs::write(&path, bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }

    /// Lets [`path`](Self::path) be a file inside.
    #[must_use]
    pub fn pointing_at(mut self, name: &str) -> ModelDir {
        self.path = self.directory.join(name);
        self
    }

    /// The folder, or the file in it that the model is opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for ModelDir {
    fn drop(&mut self) {
        // Nothing to do about a failure but leave the folder.
        let _ = fs::remove_dir_all(&self.directory);
    }
}
