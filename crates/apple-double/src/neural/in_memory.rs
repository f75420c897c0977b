//! `_ANEInMemoryModelDescriptor` and `_ANEInMemoryModel`.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use objc2::rc::Retained;
use objc2::runtime::{AnyObject, NSObject};
use objc2::{ClassType, DefinedClass, Message, define_class};
use objc2_foundation::{NSData, NSDictionary, NSNumber, NSString};

use super::program::Program;
use super::request::Request;
use super::{Refusal, answer, check_no_options, check_qos};
use crate::foundation::make;
use crate::world::{self, Fault};

pub(super) fn define() {
    Descriptor::class();
    Model::class();
}

/// What a descriptor describes.
struct Description {
    text: Vec<u8>,
    /// Whole files, by the path in the text.
    weights: BTreeMap<String, Vec<u8>>,
}

impl Description {
    /// None for what the framework makes no descriptor of.
    fn new(text: Option<&AnyObject>, weights: Option<&AnyObject>) -> Option<Self> {
        let text = text?.downcast_ref::<NSData>()?.to_vec();
        let weights = weights?.downcast_ref::<NSDictionary>()?;
        // SAFETY: nobody changes the dictionary.
        let (keys, values) = unsafe { weights.to_vecs_unchecked() };
        let mut files = BTreeMap::new();
        for (key, value) in keys.into_iter().zip(values) {
            let path = key.downcast_ref::<NSString>()?.to_string();
            let file = value.downcast_ref::<NSDictionary>()?;
            let of = |key: &str| file.objectForKey(&NSString::from_str(key));
            let offset = of("offset")?.downcast::<NSNumber>().ok()?.as_u64();
            let data = of("data")?.downcast::<NSData>().ok()?.to_vec();
            if !path.starts_with("@model_path/") || offset > 64 {
                return None;
            }
            files.insert(path, data);
        }
        Some(Self { text, weights: files })
    }

    /// The same for the same content, like the hashes of the real one.
    fn identifier(&self) -> String {
        let hash = |part: &dyn Fn(&mut DefaultHasher)| {
            let mut hasher = DefaultHasher::new();
            part(&mut hasher);
            format!("{:016X}", hasher.finish())
        };
        let of_text = hash(&|h| self.text.hash(h));
        let of_options = hash(&|_| {});
        let of_weights = hash(&|h| self.weights.hash(h));
        format!("{of_text}_{of_options}_{of_weights}")
    }

    fn folder(&self) -> PathBuf {
        world::temporary().join(self.identifier())
    }

    /// The files must be there before it is compiled, with the same content.
    fn check_folder(&self) -> Result<(), Refusal> {
        let folder = self.folder();
        let weights = self.weights.iter().map(|(path, data)| (path.replacen("@model_path/", "", 1), data));
        for (path, data) in weights.chain([("model.mil".to_owned(), &self.text)]) {
            match fs::read(folder.join(&path)) {
                Ok(found) if found == *data => {}
                Ok(_) => return Err(Refusal::new(2, format!("{path} differs from what was described"))),
                Err(error) => return Err(Refusal::new(2, format!("{path}: {error}"))),
            }
        }
        Ok(())
    }
}

define_class!(
    // SAFETY: NSObject asks nothing of its subclasses.
    #[unsafe(super(NSObject))]
    #[name = "_ANEInMemoryModelDescriptor"]
    #[ivars = Description]
    struct Descriptor;

    impl Descriptor {
        #[unsafe(method_id(modelWithMILText:weights:optionsPlist:))]
        fn describe(
            text: Option<&AnyObject>,
            weights: Option<&AnyObject>,
            options: Option<&AnyObject>,
        ) -> Option<Retained<Self>> {
            world::note("modelWithMILText:weights:optionsPlist:");
            assert!(options.is_none(), "the list of options is nil");
            let fails = world::fails(Fault::Descriptor);
            Description::new(text, weights).filter(|_| !fails).map(make)
        }
    }
);

struct InMemory {
    descriptor: Retained<Descriptor>,
    program: Program,
}

define_class!(
    // SAFETY: NSObject asks nothing of its subclasses.
    #[unsafe(super(NSObject))]
    #[name = "_ANEInMemoryModel"]
    #[ivars = InMemory]
    struct Model;

    impl Model {
        #[unsafe(method_id(inMemoryModelWithDescriptor:))]
        fn of(descriptor: Option<&AnyObject>) -> Option<Retained<Self>> {
            world::note("inMemoryModelWithDescriptor:");
            let descriptor = descriptor.and_then(AnyObject::downcast_ref::<Descriptor>).map(Descriptor::retain);
            descriptor.map(|descriptor| make(InMemory { descriptor, program: Program::default() }))
        }

        #[unsafe(method_id(hexStringIdentifier))]
        fn identifier(&self) -> Retained<NSString> {
            world::note("hexStringIdentifier");
            NSString::from_str(&self.description().identifier())
        }

        #[unsafe(method(compileWithQoS:options:error:))]
        fn compile(
            &self,
            qos: u32,
            options: Option<&AnyObject>,
            error: Option<&mut *mut AnyObject>,
        ) -> bool {
            world::note("compileWithQoS:options:error:");
            check_qos(qos.into());
            check_no_options(options);
            let checked = self.description().check_folder();
            answer(
                checked.and_then(|()| self.ivars().program.compile(&self.description().folder())),
                error,
            )
        }

        #[unsafe(method(loadWithQoS:options:error:))]
        fn load(&self, qos: u32, options: Option<&AnyObject>, error: Option<&mut *mut AnyObject>) -> bool {
            world::note("loadWithQoS:options:error:");
            check_qos(qos.into());
            check_no_options(options);
            answer(self.ivars().program.load(&self.description().folder()), error)
        }

        #[unsafe(method(evaluateWithQoS:options:request:error:))]
        fn evaluate(
            &self,
            qos: u32,
            options: Option<&AnyObject>,
            request: Option<&AnyObject>,
            error: Option<&mut *mut AnyObject>,
        ) -> bool {
            world::note("evaluateWithQoS:options:request:error:");
            check_qos(qos.into());
            check_no_options(options);
            answer(self.ivars().program.evaluate(Request::of(request)), error)
        }

        #[unsafe(method(unloadWithQoS:error:))]
        fn unload(&self, qos: u32, error: Option<&mut *mut AnyObject>) -> bool {
            world::note("unloadWithQoS:error:");
            check_qos(qos.into());
            answer(self.ivars().program.unload(), error)
        }
    }
);

impl Model {
    fn description(&self) -> &Description {
        self.ivars().descriptor.ivars()
    }
}
