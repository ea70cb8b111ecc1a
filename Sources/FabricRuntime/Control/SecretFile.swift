internal import Glibc

/// A file of secrets outside a state directory: mode 0600, owned by who runs this, replaced whole.
public enum SecretFile {
    /// Bytes of one file.
    public static let maximumBytes = 1 << 20

    /// Nil when there is no such file. Refuses one that others can reach or own.
    public static func read(_ path: String) throws(SecretFileError) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            if errno == ENOENT { return nil }
            throw SecretFileError(path, code: errno)
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw SecretFileError(path, code: errno) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw SecretFileError("\(path) is not a plain file") }
        guard status.st_uid == geteuid() else {
            throw SecretFileError("\(path) belongs to user \(status.st_uid), not to \(geteuid()) who runs this")
        }
        guard status.st_mode & 0o077 == 0 else {
            throw SecretFileError("\(path) holds secrets and is open to others: chmod 600 \(path)")
        }
        var contents: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16_384)
        while true {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count == 0 { return contents }
            if count < 0 {
                if errno == EINTR { continue }
                throw SecretFileError(path, code: errno)
            }
            contents += chunk[..<count]
            guard contents.count <= maximumBytes else {
                throw SecretFileError("\(path) has more than \(maximumBytes) bytes")
            }
        }
    }

    /// Durable when it returns. Makes the directory (0700) when there is none, and its parents.
    public static func write(_ path: String, _ contents: [UInt8]) throws(SecretFileError) {
        let directory = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        try makeDirectory(directory.isEmpty ? "/" : directory)
        let temporary = "\(path).tmp-\(getpid())"
        unlink(temporary)
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw SecretFileError(temporary, code: errno) }
        var offset = 0
        var failure: Int32 = fchmod(descriptor, 0o600) == 0 ? 0 : errno
        while failure == 0, offset < contents.count {
            let count = contents.withUnsafeBytes {
                Glibc.write(descriptor, $0.baseAddress! + offset, $0.count - offset)
            }
            if count >= 0 { offset += count } else if errno != EINTR { failure = errno }
        }
        if failure == 0, fsync(descriptor) != 0 { failure = errno }
        close(descriptor)
        if failure == 0, rename(temporary, path) != 0 { failure = errno }
        if failure != 0 {
            unlink(temporary)
            throw SecretFileError(path, code: failure)
        }
        try syncDirectory(directory.isEmpty ? "/" : directory)
    }

    public static func remove(_ path: String) throws(SecretFileError) {
        guard unlink(path) == 0 || errno == ENOENT else { throw SecretFileError(path, code: errno) }
    }

    /// Makes a directory of mode 0700, and its parents, where they are missing.
    public static func makeDirectory(_ path: String) throws(SecretFileError) {
        if mkdir(path, 0o700) == 0 { return }
        switch errno {
        case EEXIST: return
        case ENOENT:
            guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else {
                throw SecretFileError(path, code: ENOENT)
            }
            try makeDirectory(String(path[..<slash]))
            guard mkdir(path, 0o700) == 0 || errno == EEXIST else { throw SecretFileError(path, code: errno) }
        default: throw SecretFileError(path, code: errno)
        }
    }

    private static func syncDirectory(_ path: String) throws(SecretFileError) {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw SecretFileError(path, code: errno) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw SecretFileError(path, code: errno) }
    }
}

public struct SecretFileError: Error, Hashable, Sendable, CustomStringConvertible {
    public var description: String
    init(_ description: String) { self.description = description }
    init(_ path: String, code: Int32) {
        let mend =
            switch code {
            case EROFS: "; mount its file system writable, or name another place"
            case ENOSPC, EDQUOT: "; make room"
            default: ""
            }
        description = "\(path): \(String(cString: strerror(code)))\(mend)"
    }
}
