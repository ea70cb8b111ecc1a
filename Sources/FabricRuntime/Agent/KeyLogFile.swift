internal import Glibc

/// The file that Wireshark reads as `wg.keylog_file`. Who has it can read what the tunnels carried: it is made with mode
/// 0600, and an existing one that others can reach is refused.
final class KeyLogFile {
    private let descriptor: Int32
    private let path: String

    init(path: String) throws(SecretFileError) {
        self.path = path
        descriptor = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0o600)
        guard descriptor >= 0 else { throw SecretFileError(path, code: errno) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw SecretFileError(path, code: errno) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw SecretFileError("\(path) is not a plain file") }
        guard status.st_uid == geteuid(), status.st_mode & 0o077 == 0 else {
            throw SecretFileError(
                "\(path) will hold keys and is open to others: remove it, or chmod 600 \(path) as its owner")
        }
    }

    deinit { close(descriptor) }

    func append(_ text: String) throws(SecretFileError) {
        let bytes = Array(text.utf8)
        var offset = 0
        while offset < bytes.count {
            let count = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress! + offset, $0.count - offset) }
            if count >= 0 { offset += count } else if errno != EINTR { throw SecretFileError(path, code: errno) }
        }
    }
}
