//! A program in the framework's hands: compiled, loaded, evaluated, unloaded.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ferrane_engine::{EngineError, ReloadWay, RemarkKind, WeightFiles};
use ferrane_mil::text::{self, Dialect};
use ferrane_mil::{Attr, Constant, Program, Verified};

use crate::door::Content;
use crate::engine::{NAME, Shared};
use crate::failure::{Failures, suspects};
use crate::folder::Folder;
use crate::object::Object;
use crate::process;

/// How long the framework may take to give back a slot: published programs wait as long before they try again.
const RECLAIM: Duration = Duration::from_millis(100);

/// A model in the framework's hands.
pub(crate) struct Loaded {
    shared: Arc<Shared>,
    program: Verified,
    /// What no other program's text has.
    tag: String,
    /// The model and its folder; none once another should have taken its place and could not be made.
    model: Option<(Object, Folder)>,
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
        let text = text_of(program.program(), &tag).map_err(|words| failures.compile(words))?;
        let content = Content { name: &tag, text: &text, weights };
        let refused = |words: String| {
            failures.compile(format!("{words}{}", suspects(program.program(), &shared.profile)))
        };
        let _alone = process::compiling();
        shared.count_compile(&failures)?;
        let (model, folder) = shared.messages.model(&content, &shared.folders).map_err(refused)?;
        shared.messages.compile(&model).map_err(refused)?;
        let mut loaded = Self {
            shared: Arc::clone(shared),
            program: program.clone(),
            tag,
            model: Some((model, folder)),
            is_loaded: false,
        };
        loaded.load()?;
        Ok(loaded)
    }

    /// Loads it; once more if that fails, as a slot may just be coming free.
    fn load(&mut self) -> Result<(), EngineError> {
        let shared = &self.shared;
        let failures = self.failures();
        let Some((model, _)) = &self.model else { return Err(self.lost()) };
        if let Some(slots) = shared.slots().filter(|slots| process::loaded() >= *slots) {
            return Err(failures.load(&format!("all {slots} program slots are taken (rule slots)")));
        }
        if let Err(first) = shared.messages.load(model) {
            thread::sleep(RECLAIM);
            shared.messages.load(model).map_err(|words| failures.load(&words))?;
            shared.remark(RemarkKind::Fault, self.name(), failures.load(&first).to_string());
            shared.remark(RemarkKind::Recovery, self.name(), "loaded at the second try");
        }
        process::count_load();
        self.is_loaded = true;
        Ok(())
    }

    fn unload(&mut self) -> Result<(), EngineError> {
        if let Some((model, _)) = self.model.as_ref().filter(|_| self.is_loaded) {
            self.shared.messages.unload(model).map_err(|words| self.failures().load(&words))?;
            self.is_loaded = false;
            process::count_unload();
        }
        Ok(())
    }

    /// Gives it other weights and loads it again.
    pub(crate) fn reload(&mut self, weights: &WeightFiles, way: ReloadWay) -> Result<(), EngineError> {
        weights.check(self.program.main())?;
        let _alone = process::compiling();
        match way {
            ReloadWay::Files => {
                let (_, folder) = self.model.as_ref().ok_or_else(|| self.lost())?;
                folder.write_weights(weights).map_err(|error| {
                    self.failures().reload(format!("its weights cannot be written: {error}"))
                })?;
                self.unload()?;
            }
            ReloadWay::Data => self.replace(weights)?,
        }
        self.load()
    }

    /// Puts another model in its place, which is given what the compiler made of this one, and the weight file as the
    /// compiler's own copy. A model's name is a hash of its weights too: one of the same name could not be given others.
    fn replace(&mut self, weights: &WeightFiles) -> Result<(), EngineError> {
        let data = weights.only()?;
        let (_, folder) = self.model.as_ref().ok_or_else(|| self.lost())?;
        let compiled = folder.read(COMPILED).map_err(|error| {
            self.failures().reload(format!("the compiler has left no {COMPILED} in its folder: {error}"))
        })?;
        let text =
            text_of(self.program.program(), &self.tag).map_err(|words| self.failures().reload(words))?;
        self.unload()?;
        // Its folder is gone before the other's is made, which has the same name where the weights are the same.
        self.model = None;
        let content = Content { name: &self.tag, text: &text, weights };
        let made = self.shared.messages.model(&content, &self.shared.folders);
        let (model, folder) = made.map_err(|words| self.failures().reload(words))?;
        let written = folder.write(COMPILED, &compiled).and_then(|()| folder.write(DATA, data));
        written.map_err(|error| self.failures().reload(format!("its folder cannot be written: {error}")))?;
        self.model = Some((model, folder));
        Ok(())
    }

    /// Evaluates it once on the surfaces of `request`.
    pub(crate) fn evaluate(&self, request: &Object) -> Result<(), EngineError> {
        let Some((model, _)) = self.model.as_ref().filter(|_| self.is_loaded) else {
            return Err(self.lost());
        };
        let _alone = process::evaluating();
        let evaluated = self.shared.messages.evaluate(model, request);
        evaluated.map_err(|words| self.failures().evaluate(&words))
    }

    fn lost(&self) -> EngineError {
        self.failures().reload("it is not loaded: loading it again failed")
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

/// What the compiler leaves in a model's folder: the program, and its copy of the weights.
const COMPILED: &str = "net.plist";
const DATA: &str = "data";

/// The text of `program` with `tag` in it.
fn text_of(program: &Program, tag: &str) -> Result<String, String> {
    let tagged = tagged(program, tag);
    text::print(&tagged, Dialect::of(&tagged)).map_err(|error| error.to_string())
}

/// `program` with `tag` in it, so that no two programs have the same text: the framework calls a model's folder by a hash of
/// the text, and equal programs would share one.
fn tagged(program: &Program, tag: &str) -> Program {
    let mut program = program.clone();
    program.require_build_info();
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
