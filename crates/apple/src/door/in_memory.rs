//! `_ANEInMemoryModel`: the program is handed over in memory, and lies in a folder as well.
#![allow(unsafe_code, reason = "each block says why it is sound")]

use std::sync::Arc;

use ferrane_engine::WeightFiles;
use objc2::encode::Encode;
use objc2::rc::Retained;
use objc2::runtime::{AnyClass, AnyObject, Bool};
use objc2::{msg_send, sel};
use objc2_foundation::{NSData, NSDictionary, NSNumber, NSString};

use super::{Content, Messages, done};
use crate::folder::{Folder, Folders};
use crate::framework::{ErrorOut, FrameworkError, Id, Qos, QosWidth, check, class, with_qos};
use crate::object::{Object, guarded};

#[derive(Clone, Copy, Debug)]
pub(super) struct InMemory {
    descriptor: &'static AnyClass,
    model: &'static AnyClass,
    qos: Qos,
}

impl InMemory {
    pub(super) fn find(class_of_qos: u32) -> Result<Self, FrameworkError> {
        let descriptor = class(c"_ANEInMemoryModelDescriptor")?;
        check::<(Id, Id, Id), Id>(descriptor.metaclass(), sel!(modelWithMILText:weights:optionsPlist:))?;
        let model = class(c"_ANEInMemoryModel")?;
        check::<(Id,), Id>(model.metaclass(), sel!(inMemoryModelWithDescriptor:))?;
        check::<(), Id>(model, sel!(hexStringIdentifier))?;
        let qos = Qos::find(class_of_qos, QosWidth::Bits32, |width| match width {
            QosWidth::Bits32 => check_with::<u32>(model),
            QosWidth::Bits64 => check_with::<u64>(model),
        })?;
        Ok(Self { descriptor, model, qos })
    }
}

fn check_with<Qos: Encode>(model: &AnyClass) -> Result<(), FrameworkError> {
    check::<(Qos, Id, ErrorOut), Bool>(model, sel!(compileWithQoS:options:error:))?;
    check::<(Qos, Id, ErrorOut), Bool>(model, sel!(loadWithQoS:options:error:))?;
    check::<(Qos, Id, Id, ErrorOut), Bool>(model, sel!(evaluateWithQoS:options:request:error:))?;
    check::<(Qos, ErrorOut), Bool>(model, sel!(unloadWithQoS:error:))
}

type Options = NSDictionary<NSString, AnyObject>;

/// Whole files by their paths. A program without weights has an empty dictionary: of nil nothing comes, not even an error.
fn dictionary(weights: &WeightFiles) -> Retained<NSDictionary<NSString, Options>> {
    let keys = [NSString::from_str("offset"), NSString::from_str("data")];
    let zero = NSNumber::new_u64(0);
    let (paths, files): (Vec<_>, Vec<_>) = weights
        .iter()
        .map(|(path, bytes)| {
            let data = NSData::with_bytes(bytes);
            let file = Options::from_slices(&[&*keys[0], &*keys[1]], &[&***zero, &**data]);
            (NSString::from_str(path), file)
        })
        .unzip();
    let paths: Vec<&NSString> = paths.iter().map(|path| &**path).collect();
    NSDictionary::from_retained_objects(&paths, &files)
}

impl Messages for InMemory {
    fn model(&self, content: &Content<'_>, folders: &Arc<Folders>) -> Result<(Object, Folder), String> {
        let (model, identifier) = guarded(|| {
            let text = NSData::with_bytes(content.text.as_bytes());
            let weights = dictionary(content.weights);
            let nil: Option<&AnyObject> = None;
            // SAFETY: the method was checked to take three objects and give one.
            let descriptor: Option<Retained<AnyObject>> = unsafe {
                msg_send![self.descriptor, modelWithMILText: &*text, weights: &*weights, optionsPlist: nil]
            };
            let descriptor =
                descriptor.ok_or("no descriptor was made of the text, and no reason is given")?;
            // SAFETY: the method was checked to take an object and give one.
            let model: Option<Retained<AnyObject>> =
                unsafe { msg_send![self.model, inMemoryModelWithDescriptor: &*descriptor] };
            let model = model.ok_or("no model was made of the descriptor, and no reason is given")?;
            // SAFETY: the method was checked to give an object, and is known to give a string.
            let identifier: Option<Retained<AnyObject>> = unsafe { msg_send![&*model, hexStringIdentifier] };
            let identifier = identifier.and_then(|identifier| identifier.downcast::<NSString>().ok());
            let identifier = identifier.ok_or("the model has no identifier that is a string")?.to_string();
            Ok::<_, &str>((Object::new(model), identifier))
        })??;
        let write = || {
            let folder = folders.identified(&identifier)?;
            folder.write_text(content.text)?;
            folder.write_weights(content.weights)?;
            Ok::<_, std::io::Error>(folder)
        };
        let folder = write().map_err(|error| format!("its folder cannot be written: {error}"))?;
        Ok((model, folder))
    }

    fn compile(&self, model: &Object) -> Result<(), String> {
        let options = Options::new();
        // SAFETY: the method was checked to take the quality of service in this width, an object and an error.
        done(|error| {
            with_qos!(self.qos, |qos| unsafe {
                msg_send![&**model, compileWithQoS: qos, options: &*options, error: error]
            })
        })
    }

    fn load(&self, model: &Object) -> Result<(), String> {
        let options = Options::new();
        // SAFETY: as for `compile`.
        done(|error| {
            with_qos!(self.qos, |qos| unsafe {
                msg_send![&**model, loadWithQoS: qos, options: &*options, error: error]
            })
        })
    }

    fn unload(&self, model: &Object) -> Result<(), String> {
        // SAFETY: the method was checked to take the quality of service in this width and an error.
        done(|error| {
            with_qos!(self.qos, |qos| unsafe { msg_send![&**model, unloadWithQoS: qos, error: error] })
        })
    }

    fn evaluate(&self, model: &Object, request: &Object) -> Result<(), String> {
        let options = Options::new();
        // SAFETY: the method was checked to take the quality of service in this width, two objects and an error; the second
        // is a request of the framework's own.
        done(|error| {
            with_qos!(self.qos, |qos| unsafe {
                msg_send![&**model, evaluateWithQoS: qos, options: &*options, request: &**request, error: error]
            })
        })
    }
}
