internal import Glibc

/// Short secrets as files of mode 0600.
enum SecretText {
    static func write(_ text: String, to path: String) throws(LiveFailure) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw LiveFailure("\(path) can't be written: \(String(cString: strerror(errno)))")
        }
        defer { close(descriptor) }
        let bytes = Array(text.utf8)
        guard Glibc.write(descriptor, bytes, bytes.count) == bytes.count else {
            throw LiveFailure("\(path) can't be written: \(String(cString: strerror(errno)))")
        }
    }
}
