//! `_ANEClient`: the program lies in a folder of our own.
#![allow(unsafe_code, reason = "each block says why it is sound")]

use std::sync::Arc;

use objc2::encode::Encode;
use objc2::rc::Retained;
use objc2::runtime::{AnyClass, AnyObject, Bool};
use objc2::{msg_send, sel};
use objc2_foundation::{NSDictionary, NSString, NSURL};

use super::{Content, Messages, done};
use crate::folder::{Folder, Folders};
use crate::framework::{ErrorOut, FrameworkError, Id, Qos, QosWidth, check, class, with_qos};
use crate::object::{Object, guarded};

#[derive(Clone, Copy, Debug)]
pub(super) struct Client {
    client: &'static AnyClass,
    model: &'static AnyClass,
    qos: Qos,
}

impl Client {
    pub(super) fn find(class_of_qos: u32) -> Result<Self, FrameworkError> {
        let client = class(c"_ANEClient")?;
        check::<(), Id>(client.metaclass(), sel!(sharedConnection))?;
        let model = class(c"_ANEModel")?;
        check::<(Id, Id), Id>(model.metaclass(), sel!(modelAtURL:key:))?;
        let qos = Qos::find(class_of_qos, QosWidth::Bits64, |width| match width {
            QosWidth::Bits32 => check_with::<u32>(client),
            QosWidth::Bits64 => check_with::<u64>(client),
        })?;
        Ok(Self { client, model, qos })
    }

    /// The one connection of the process.
    fn connection(&self) -> Result<Object, String> {
        // SAFETY: the method was checked to give an object.
        let connection: Option<Retained<AnyObject>> =
            guarded(|| unsafe { msg_send![self.client, sharedConnection] })?;
        connection
            .map(Object::new)
            .ok_or_else(|| "there is no connection to the Neural Engine's daemon".to_owned())
    }
}

fn check_with<Qos: Encode>(client: &AnyClass) -> Result<(), FrameworkError> {
    check::<(Id, Id, Qos, ErrorOut), Bool>(client, sel!(compileModel:options:qos:error:))?;
    check::<(Id, Id, Qos, ErrorOut), Bool>(client, sel!(loadModel:options:qos:error:))?;
    check::<(Id, Id, Id, Qos, ErrorOut), Bool>(client, sel!(evaluateWithModel:options:request:qos:error:))?;
    check::<(Id, Id, Qos, ErrorOut), Bool>(client, sel!(unloadModel:options:qos:error:))
}

type Options = NSDictionary<NSString, NSString>;

/// That the model is MIL text, and where.
fn mil_options() -> Retained<Options> {
    let strings =
        ["kANEFModelType", "kANEFNetPlistFilenameKey", "kANEFModelMIL", "model.mil"].map(NSString::from_str);
    let [kind, file, mil, name] = &strings;
    Options::from_slices(&[&**kind, &**file], &[&**mil, &**name])
}

impl Messages for Client {
    fn model(&self, content: &Content<'_>, folders: &Arc<Folders>) -> Result<(Object, Folder), String> {
        let write = || {
            let folder = folders.own(content.name)?;
            folder.write_text(content.text)?;
            folder.write_weights(content.weights)?;
            Ok::<_, std::io::Error>(folder)
        };
        let folder = write().map_err(|error| format!("its folder cannot be written: {error}"))?;
        let path =
            folder.path().to_str().ok_or("the folder for temporary files has a name that is not text")?;
        let model: Option<Retained<AnyObject>> = guarded(|| {
            let url = NSURL::fileURLWithPath_isDirectory(&NSString::from_str(path), true);
            let key = NSString::from_str("s");
            // SAFETY: the method was checked to take two objects and give one.
            unsafe { msg_send![self.model, modelAtURL: &*url, key: &*key] }
        })?;
        let model = model.ok_or("no model was made of the folder, and no reason is given")?;
        Ok((Object::new(model), folder))
    }

    fn compile(&self, model: &Object) -> Result<(), String> {
        let (client, options) = (self.connection()?, mil_options());
        // SAFETY: the method was checked to take two objects, the quality of service in this width, and an error; the first is
        // a model of the framework's own.
        done(|error| {
            with_qos!(self.qos, |qos| unsafe {
                msg_send![&*client, compileModel: &**model, options: &*options, qos: qos, error: error]
            })
        })
    }

    fn load(&self, model: &Object) -> Result<(), String> {
        let (client, options) = (self.connection()?, mil_options());
        // SAFETY: as for `compile`.
        done(|error| {
            with_qos!(self.qos, |qos| unsafe {
                msg_send![&*client, loadModel: &**model, options: &*options, qos: qos, error: error]
            })
        })
    }

    fn unload(&self, model: &Object) -> Result<(), String> {
        let (client, options) = (self.connection()?, Options::new());
        // SAFETY: as for `compile`.
        done(|error| {
            with_qos!(self.qos, |qos| unsafe {
                msg_send![&*client, unloadModel: &**model, options: &*options, qos: qos, error: error]
            })
        })
    }

    fn evaluate(&self, model: &Object, request: &Object) -> Result<(), String> {
        let (client, options) = (self.connection()?, Options::new());
        // SAFETY: the method was checked to take three objects, the quality of service in this width, and an error; the first
        // and the third are a model and a request of the framework's own.
        done(|error| {
            with_qos!(self.qos, |qos| unsafe {
                msg_send![
                    &*client,
                    evaluateWithModel: &**model,
                    options: &*options,
                    request: &**request,
                    qos: qos,
                    error: error
                ]
            })
        })
    }
}
