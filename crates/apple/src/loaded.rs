//! A program in the framework's hands: compiled, loaded, evaluated, unloaded.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use ferrane_engine::{EngineError, RemarkKind, WeightFiles};
use ferrane_mil::text::{self, Dialect};
use ferrane_mil::{Attr, Constant, Program, Verified};

use crate::door::Content;
use crate::engine::{NAME, Shared, held};
use crate::failure::{Failures, suspects};
use crate::folder::Folder;
use crate::object::Object;

/// How long the framework may take to give back a slot: published programs wait as long before they try again.
const RECLAIM: Duration = Duration::from_millis(100);

/// A model in the framework's hands.
pub(crate) struct Loaded {
    shared: Arc<Shared>,
    program: Verified,
    model: Object,
    folder: Folder,
    /// In a slot.
    is_loaded: bool,
}

impl Loaded {
    /// Compiles and loads a program.
    pub(crate) fn new(
        shared: &Arc<Shared>,
        program: &Verified,
        weights: &WeightFiles,
    ) -> Result<Self, EngineError> {
        let failures = Failures { engine: NAME, program: &program.main().name };
        weights.check(program.main())?;
        let tag = shared.folders.unique();
        let tagged = tagged(program.program(), &tag);
        let text = text::print(&tagged, Dialect::of(&tagged)).map_err(|e| failures.compile(e.to_string()))?;
        let content = Content { name: &tag, text: &text, weights };
        let refused = |words: String| {
            failures.compile(format!("{words}{}", suspects(program.program(), &shared.profile)))
        };
        let _alone = held(&shared.compiling);
        shared.count_compile(&failures)?;
        let (model, folder) = shared.messages.model(&content, &shared.folders).map_err(refused)?;
        shared.messages.compile(&model).map_err(refused)?;
        let mut loaded =
            Self { shared: Arc::clone(shared), program: program.clone(), model, folder, is_loaded: false };
        loaded.load()?;
        Ok(loaded)
    }

    /// Loads it; once more if that fails, as a slot may just be coming free.
    fn load(&mut self) -> Result<(), EngineError> {
        let shared = &self.shared;
        let failures = self.failures();
        let before = shared.loaded.load(Ordering::Relaxed);
        if let Some(slots) = shared.slots().filter(|slots| before >= *slots) {
            return Err(failures.load(&format!("all {slots} program slots are taken (rule slots)")));
        }
        if let Err(first) = shared.messages.load(&self.model) {
            thread::sleep(RECLAIM);
            shared.messages.load(&self.model).map_err(|words| failures.load(&words))?;
            shared.remark(RemarkKind::Fault, self.name(), failures.load(&first).to_string());
            shared.remark(RemarkKind::Recovery, self.name(), "loaded at the second try");
        }
        shared.loaded.fetch_add(1, Ordering::Relaxed);
        self.is_loaded = true;
        Ok(())
    }

    fn unload(&mut self) -> Result<(), EngineError> {
        if self.is_loaded {
            self.shared.messages.unload(&self.model).map_err(|words| self.failures().load(&words))?;
            self.is_loaded = false;
            self.shared.loaded.fetch_sub(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Puts other weights into its folder and loads it again.
    pub(crate) fn reload(&mut self, weights: &WeightFiles) -> Result<(), EngineError> {
        weights.check(self.program.main())?;
        let shared = Arc::clone(&self.shared);
        let _alone = held(&shared.compiling);
        self.folder
            .write_weights(weights)
            .map_err(|error| self.failures().load(&format!("its weights cannot be written: {error}")))?;
        self.unload()?;
        self.load()
    }

    /// Evaluates it once on the surfaces of `request`.
    pub(crate) fn evaluate(&self, request: &Object) -> Result<(), EngineError> {
        if !self.is_loaded {
            return Err(self.failures().load("it is not loaded: loading it again failed"));
        }
        let _alone = held(&self.shared.evaluating);
        let evaluated = self.shared.messages.evaluate(&self.model, request);
        evaluated.map_err(|words| self.failures().evaluate(&words))
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    fn name(&self) -> &str {
        &self.program.main().name
    }

    pub(crate) fn failures(&self) -> Failures<'_> {
        Failures { engine: NAME, program: self.name() }
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        if let Err(error) = self.unload() {
            let message = format!("it stays in its slot, for it cannot be unloaded: {error}");
            self.shared.remark(RemarkKind::Fault, self.name(), message);
        }
    }
}

/// `program` with `tag` in it, so that no two programs have the same text: the framework calls a model's folder by a hash of
/// the text, and equal programs would share one.
fn tagged(program: &Program, tag: &str) -> Program {
    let mut program = program.clone();
    for (_, attr) in program.attrs.iter_mut().filter(|(name, _)| name == "buildInfo") {
        let Attr::Dict(_, entries) = attr else { continue };
        let tag = Attr::Constant(Constant::string(tag));
        // A version string of this name must be there, and is empty in every published program.
        let key = Constant::string("coremltools-component-milinternal");
        match entries.iter_mut().find(|(name, _)| *name == key) {
            Some((_, value)) => *value = tag,
            None => entries.push((key, tag)),
        }
    }
    program
}
