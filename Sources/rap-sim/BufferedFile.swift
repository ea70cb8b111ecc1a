internal import Foundation

/// Why a file can't be written: its path, the reason and the mend.
struct Unwritable: Error, CustomStringConvertible {
    var description: String

    init(_ path: String, _ code: Int32) {
        let reason =
            switch code {
            case ENOENT, ENOTDIR: "there is no such directory; make it, or name another file"
            case EISDIR: "it is a directory; name a file in it"
            case EACCES, EPERM: "its permissions forbid it; name another file"
            case EROFS: "the file system is read-only; name a file elsewhere"
            case ENOSPC, EDQUOT: "the disk is full; make room, or name a file elsewhere"
            default: "\(String(cString: strerror(code))); name another file"
            }
        description = "\(path) can't be written: \(reason)"
    }
}

/// Which regular file it is, under whatever name.
struct FileIdentity: Equatable {
    private let device: dev_t
    private let inode: ino_t

    /// Nil when there is no such file, or it is none that keeps what is written to it.
    init?(path: String) {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        self.init(status)
    }

    init?(descriptor: Int32) {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return nil }
        self.init(status)
    }

    private init?(_ status: stat) {
        guard status.st_mode & S_IFMT == S_IFREG else { return nil }
        device = status.st_dev
        inode = status.st_ino
    }
}

/// A file that is written in large pieces. What was there before stays until `begin`.
final class BufferedFile {
    private let path: String
    private let mode: mode_t
    private let descriptor: Int32
    /// It was made by this program, and is removed when nothing comes of it.
    private let isNew: Bool
    /// Nil for a device or a pipe.
    let identity: FileIdentity?
    private var hasBegun = false
    private var buffer: [UInt8] = []
    /// The first failure's number; 0 for none.
    private var failure: Int32 = 0

    /// What is at `path` is written, not replaced: a link stays one, and a device or a pipe gets the bytes.
    init(_ path: String, mode: mode_t) throws(Unwritable) {
        let flags = O_WRONLY | O_CREAT | O_CLOEXEC
        var descriptor = open(path, flags | O_EXCL, mode)
        isNew = descriptor >= 0
        if descriptor < 0, errno == EEXIST { descriptor = open(path, flags, mode) }
        guard descriptor >= 0 else { throw Unwritable(path, errno) }
        self.path = path
        self.mode = mode
        self.descriptor = descriptor
        identity = FileIdentity(descriptor: descriptor)
    }

    /// Empties what was there.
    func begin() {
        hasBegun = true
        guard identity != nil else { return }
        // A file that was there before may be open to more people than what it is to hold.
        _ = fchmod(descriptor, mode)
        if ftruncate(descriptor, 0) != 0 { failure = errno }
    }

    func write(_ bytes: [UInt8]) {
        buffer += bytes
        if buffer.count >= 1 << 18 { flush() }
    }

    /// What went wrong, for people; nil when all was written.
    func close() -> String? {
        flush()
        if Foundation.close(descriptor) != 0, failure == 0 { failure = errno }
        return failure == 0 ? nil : "\(Unwritable(path, failure)); what is there now is not whole"
    }

    /// Closes a file to which nothing was written, and leaves things as they were.
    func discard() {
        guard !hasBegun else { return }
        _ = Foundation.close(descriptor)
        if isNew { unlink(path) }
    }

    private func flush() {
        var rest = buffer[...]
        while failure == 0, !rest.isEmpty {
            let count = rest.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
            if count > 0 { rest = rest.dropFirst(count) } else if count == 0 || errno != EINTR { failure = errno }
        }
        buffer.removeAll(keepingCapacity: true)
    }
}
