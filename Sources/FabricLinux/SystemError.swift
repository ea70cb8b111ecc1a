internal import Glibc

/// A system call that failed: what was attempted, and the kernel's errno.
public struct SystemError: Error, Hashable, Sendable, CustomStringConvertible {
    public var operation: String
    /// A positive errno.
    public var code: Int32

    public init(_ operation: String, code: Int32) {
        self.operation = operation
        self.code = code
    }

    public var description: String { "\(operation): \(errorText(code)) (errno \(code))" }
}

func errorText(_ code: Int32) -> String { String(cString: strerror(code)) }

/// Turns a shim's negative errno into an error; other results pass.
@discardableResult
func check(_ result: Int32, _ operation: @autoclosure () -> String) throws(SystemError) -> Int32 {
    guard result >= 0 else { throw SystemError(operation(), code: -result) }
    return result
}

/// A file descriptor that is closed with its owner.
struct OwnedDescriptor: ~Copyable {
    let raw: Int32

    init(_ raw: Int32) { self.raw = raw }

    deinit { close(raw) }
}
