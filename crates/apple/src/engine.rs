//! The engine `ane`.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use ferrane_engine::{
    Engine, EngineError, Kernel, Port, Profile, Remark, RemarkKind, Surface, SurfaceError, Usage, WeightFiles,
};
use ferrane_mil::Verified;
use objc2_foundation::NSTemporaryDirectory;

use crate::door::{Door, Messages};
use crate::failure::Failures;
use crate::folder::Folders;
use crate::framework::{self, FRAMEWORK, FrameworkError, Requests};
use crate::iosurface::{AneMemory, IoSurface};
use crate::kernel::AneKernel;
use crate::loaded::Loaded;
use crate::object::guarded;
use crate::process::{self, held};

/// How to reach the Neural Engine.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Through which door.
    pub door: Door,
    /// The file of the framework.
    pub image: PathBuf,
}

impl Default for Setup {
    fn default() -> Self {
        Self { door: Door::default(), image: FRAMEWORK.into() }
    }
}

/// Why the engine cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The framework is missing, or other than expected.
    #[error(transparent)]
    Framework(#[from] FrameworkError),
    /// The folder for temporary files cannot be used.
    #[error("the folder for temporary files, which the Neural Engine compiles from, cannot be used: {0}")]
    Folder(io::Error),
}

/// Apple's Neural Engine.
pub struct AneEngine {
    shared: Arc<Shared>,
}

/// What kernels need of their engine.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) profile: Profile,
    door: Door,
    pub(crate) messages: Arc<dyn Messages>,
    pub(crate) requests: Requests,
    pub(crate) folders: Arc<Folders>,
    remarks: Arc<Mutex<Vec<Remark>>>,
}

impl AneEngine {
    /// Opens the Neural Engine of this machine, of which `profile` tells.
    ///
    /// # Errors
    /// When there is none, or this macOS is not as expected.
    pub fn open(profile: Profile, setup: &Setup) -> Result<Self, OpenError> {
        framework::open(&setup.image)?;
        let messages = setup.door.open(framework::QOS)?;
        let requests = Requests::find()?;
        let temporary = guarded(|| PathBuf::from(NSTemporaryDirectory().to_string()))
            .map_err(|e| OpenError::Folder(io::Error::other(e)))?;
        let folders = Arc::new(Folders::open(temporary).map_err(OpenError::Folder)?);
        let shared =
            Shared { profile, door: setup.door, messages, requests, folders, remarks: Arc::default() };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The door it was opened through.
    pub fn door(&self) -> Door {
        self.shared.door
    }
}

impl Engine for AneEngine {
    fn name(&self) -> &str {
        NAME
    }

    fn profile(&self) -> &Profile {
        &self.shared.profile
    }

    fn surface(&self, port: &Port, allocation: usize) -> Result<Surface, SurfaceError> {
        let needed = port.bytes();
        if allocation < needed {
            return Err(SurfaceError::Allocation { name: port.name.clone(), allocation, needed });
        }
        let surface = IoSurface::new(allocation)?;
        let wrapper = self.shared.requests.wrap(surface.as_ref()).map_err(SurfaceError::Device)?;
        let wrapper = wrapper.ok_or_else(|| {
            SurfaceError::Device(format!(
                "the framework takes no IOSurface of {allocation} bytes, and gives no reason"
            ))
        })?;
        let memory = AneMemory::new(surface, wrapper, port.dtype, port.elements())?;
        Ok(Surface::device(port.shape, port.dtype, allocation, Arc::new(memory)))
    }

    fn compile(&self, program: &Verified, weights: &WeightFiles) -> Result<Box<dyn Kernel>, EngineError> {
        let (inputs, outputs) = Port::of(program.main())?;
        let loaded = Loaded::new(&self.shared, program, weights)?;
        Ok(Box::new(AneKernel::new(loaded, inputs, outputs)))
    }

    fn with_qos(&self, class: u32) -> Option<Arc<dyn Engine>> {
        // What was found once is still there.
        let messages = self.shared.door.open(class).ok()?;
        Some(Arc::new(Self { shared: Arc::new(Shared { messages, ..Shared::clone(&self.shared) }) }))
    }

    fn usage(&self) -> Usage {
        Usage {
            compiles: process::compiles(),
            max_compiles: self.shared.max_compiles(),
            loaded: process::loaded(),
            slots: self.shared.slots(),
        }
    }

    fn remarks(&self) -> Vec<Remark> {
        std::mem::take(&mut held(&self.shared.remarks))
    }
}

pub(crate) const NAME: &str = "ane";

impl Shared {
    /// Programs one process can compile, where that is limited.
    fn max_compiles(&self) -> Option<usize> {
        let most = self.profile.limits.compiles.as_ref().map(|most| most.value);
        most.filter(|_| !self.profile.assumes("compile-count"))
    }

    /// Programs one process can hold, where that is limited.
    pub(crate) fn slots(&self) -> Option<usize> {
        let limited = self.profile.quirk("load-limit").is_some() && !self.profile.assumes("slots");
        limited.then_some(self.profile.limits.slots.value)
    }

    pub(crate) fn remark(&self, kind: RemarkKind, program: &str, message: impl Into<String>) {
        held(&self.remarks).push(Remark { kind, program: program.into(), message: message.into() });
    }

    /// Counts a compile, or refuses one too many: the framework would refuse it too, and be slow afterwards.
    pub(crate) fn count_compile(&self, failures: &Failures<'_>) -> Result<(), EngineError> {
        let before = process::count_compile();
        match self.max_compiles().filter(|most| before >= *most) {
            None => Ok(()),
            Some(most) => Err(failures.compile(format!(
                "this process has compiled {most} programs, which is all it can (rule compile-count); begin a new \
                 process, or assume compile-count-ok to find out"
            ))),
        }
    }
}
