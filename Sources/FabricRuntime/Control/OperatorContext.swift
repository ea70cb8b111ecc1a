public import FabricCore
internal import FabricDocument
internal import FabricWire

/// What an operator's machine knows of a control plane: where it is, how to recognise it, and the operators' token.
/// A secret: it is kept in a file of mode 0600.
public struct OperatorContext: Hashable, Sendable, Codable {
    /// An address or a name, and a port.
    public var endpoint: ServerAddress
    /// SHA-256 of the control plane's root certificate.
    public var controlPin: Blob
    /// The operators' bearer token.
    public var adminToken: String

    public init(endpoint: ServerAddress, controlPin: Blob, adminToken: String) {
        self.endpoint = endpoint
        self.controlPin = controlPin
        self.adminToken = adminToken
    }

    public static func load(_ path: String) throws(SecretFileError) -> OperatorContext {
        guard let bytes = try SecretFile.read(path) else {
            throw SecretFileError(
                "there is no operator context at \(path): copy the one that “rap-control init” wrote, or name it with "
                    + "--context")
        }
        let context: OperatorContext
        do throws(DocumentError) {
            context = try JSON.decode(OperatorContext.self, from: bytes)
        } catch {
            throw SecretFileError("\(path) is not an operator context: \(error)")
        }
        guard context.controlPin.bytes.count == 32 else {
            throw SecretFileError("\(path) is not an operator context: controlPin has not 32 bytes")
        }
        return context
    }

    public func save(_ path: String) throws(SecretFileError) {
        do {
            try SecretFile.write(path, JSON.pretty(self))
        } catch let error as SecretFileError {
            throw error
        } catch {
            preconditionFailure("a context can't be encoded: \(error)")
        }
    }
}
