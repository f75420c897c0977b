//! `_ANEClient` and `_ANEModel`.

use std::path::PathBuf;
use std::sync::OnceLock;

use objc2::rc::Retained;
use objc2::runtime::{AnyObject, NSObject};
use objc2::{ClassType, DefinedClass, define_class};
use objc2_foundation::{NSDictionary, NSString, NSURL};

use super::program::Program;
use super::request::Request;
use super::{answer, check_no_options, check_qos};
use crate::foundation::make;
use crate::world;

pub(super) fn define() {
    Model::class();
    shared();
}

struct InFolder {
    folder: PathBuf,
    program: Program,
}

impl InFolder {
    fn new(url: Option<&AnyObject>, key: Option<&AnyObject>) -> Option<Self> {
        let folder = PathBuf::from(url?.downcast_ref::<NSURL>()?.path()?.to_string());
        assert_eq!(key?.downcast_ref::<NSString>()?.to_string(), "s", "the key");
        folder.is_dir().then(|| Self { folder, program: Program::default() })
    }
}

define_class!(
    // SAFETY: NSObject asks nothing of its subclasses.
    #[unsafe(super(NSObject))]
    #[name = "_ANEModel"]
    #[ivars = InFolder]
    struct Model;

    impl Model {
        #[unsafe(method_id(modelAtURL:key:))]
        fn at(url: Option<&AnyObject>, key: Option<&AnyObject>) -> Option<Retained<Self>> {
            world::note("modelAtURL:key:");
            InFolder::new(url, key).map(make)
        }
    }
);

fn program(model: Option<&AnyObject>) -> &InFolder {
    model.and_then(AnyObject::downcast_ref::<Model>).expect("a model of the class _ANEModel").ivars()
}

fn check_mil_options(options: Option<&AnyObject>) {
    let options =
        options.and_then(AnyObject::downcast_ref::<NSDictionary>).expect("options are a dictionary");
    for (key, value) in [("kANEFModelType", "kANEFModelMIL"), ("kANEFNetPlistFilenameKey", "model.mil")] {
        let found = options.objectForKey(&NSString::from_str(key)).expect(key);
        assert_eq!(found.downcast::<NSString>().expect(key).to_string(), value);
    }
}

define_class!(
    // SAFETY: NSObject asks nothing of its subclasses.
    #[unsafe(super(NSObject))]
    #[name = "_ANEClient"]
    struct Client;

    impl Client {
        #[unsafe(method_id(sharedConnection))]
        fn shared_connection() -> Retained<Self> {
            shared().0.clone()
        }

        #[unsafe(method(compileModel:options:qos:error:))]
        fn compile(
            &self,
            model: Option<&AnyObject>,
            options: Option<&AnyObject>,
            qos: u64,
            error: Option<&mut *mut AnyObject>,
        ) -> bool {
            world::note("compileModel:options:qos:error:");
            check_qos(qos);
            check_mil_options(options);
            let model = program(model);
            answer(model.program.compile(&model.folder), error)
        }

        #[unsafe(method(loadModel:options:qos:error:))]
        fn load(
            &self,
            model: Option<&AnyObject>,
            options: Option<&AnyObject>,
            qos: u64,
            error: Option<&mut *mut AnyObject>,
        ) -> bool {
            world::note("loadModel:options:qos:error:");
            check_qos(qos);
            check_mil_options(options);
            let model = program(model);
            answer(model.program.load(&model.folder), error)
        }

        #[unsafe(method(evaluateWithModel:options:request:qos:error:))]
        fn evaluate(
            &self,
            model: Option<&AnyObject>,
            options: Option<&AnyObject>,
            request: Option<&AnyObject>,
            qos: u64,
            error: Option<&mut *mut AnyObject>,
        ) -> bool {
            world::note("evaluateWithModel:options:request:qos:error:");
            check_qos(qos);
            check_no_options(options);
            answer(program(model).program.evaluate(Request::of(request)), error)
        }

        #[unsafe(method(unloadModel:options:qos:error:))]
        fn unload(
            &self,
            model: Option<&AnyObject>,
            options: Option<&AnyObject>,
            qos: u64,
            error: Option<&mut *mut AnyObject>,
        ) -> bool {
            world::note("unloadModel:options:qos:error:");
            check_qos(qos);
            check_no_options(options);
            answer(program(model).program.unload(), error)
        }
    }
);

struct Shared(Retained<Client>);

// SAFETY: the client has no state.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

/// The one connection of the process.
fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| Shared(make(())))
}
