//! The model in the types that are measured: copies in a temporary folder, one at a time.

use crate::args::{EvalArgs, STORED};
use crate::failure::{Context, Result};
use crate::load::load_options;
use crate::shipped;
use puna::{Cancel, LoadOptions, Model, QuantizeOptions};
use std::path::{Path, PathBuf};

/// Where the model comes from.
pub(super) struct Source<'a> {
    path: Option<&'a Path>,
    options: LoadOptions,
    /// Where copies go; `None` where there are none.
    folder: Option<Folder>,
}

impl<'a> Source<'a> {
    pub(super) fn new(args: &'a EvalArgs, cancel: &Cancel) -> Result<Self> {
        let copies = args.quant.iter().any(|name| !name.eq_ignore_ascii_case(STORED));
        let folder = copies.then(Folder::new).transpose()?;
        let options = load_options(&args.options).cancel(cancel.clone());
        Ok(Self { path: args.model.as_deref(), options, folder })
    }

    /// What to call it.
    pub(super) fn name(&self) -> String {
        self.path.map_or_else(|| "puna-tiny".into(), |path| path.display().to_string())
    }

    /// The model in one type.
    pub(super) fn open(&self, name: &str) -> Result<Model> {
        let Some(folder) = self.folder.as_ref().filter(|_| name != STORED) else {
            return match self.path {
                Some(path) => Ok(Model::open(path, &self.options)?),
                None => shipped::open(self.options.clone()),
            };
        };
        let input = match self.path {
            Some(path) => path.to_path_buf(),
            None => folder.write("shipped.gguf", shipped::TEXT)?,
        };
        let mut options = self.options.clone();
        if self.path.is_none() {
            options = options.mmproj_bytes(shipped::TOWER);
        }
        let file = |what: &str| folder.0.join(format!("{what}-{name}.gguf"));
        let (text, tower) = (file("text"), file("tower"));
        let mut quantize = QuantizeOptions::new(name)?.load(options.clone());
        // A folder has its tower inside, the copy cannot.
        let inside = input.is_dir() && options.mmproj.is_none();
        if inside && puna::internal::Package::open(&input, &options)?.vision().is_some() {
            quantize = quantize.mmproj(&tower);
        }
        let done = puna::quantize(&input, &text, &quantize)?;
        // The copy has the overrides inside.
        options.overrides.clear();
        if done.mmproj.is_some() {
            options = options.mmproj(&tower);
        }
        Ok(Model::open(&text, &options)?)
    }
}

/// A folder of this process's own, removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("puna-eval-{}", std::process::id()));
        std::fs::create_dir(&path).at(path.display())?;
        Ok(Self(path))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).at(path.display())?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed stays in the system's folder for such things.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
