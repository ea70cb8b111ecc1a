internal import FabricControl
internal import FabricCore
internal import FabricLinux

/// The control plane's secrets as files of mode 0600 in a directory of mode 0700, which this process holds alone.
final class FileKeyVault: KeyVault {
    private let directory: StateDirectory

    init(path: String, create: Bool) throws(StateDirectoryError) {
        directory = try StateDirectory(path: path, create: create)
    }

    func read(_ name: String) throws(KeyVaultError) -> [UInt8]? {
        do throws(StateDirectoryError) {
            return try directory.read(name)
        } catch {
            throw KeyVaultError("\(error)")
        }
    }

    func write(_ name: String, _ secret: [UInt8]) throws(KeyVaultError) {
        do throws(DiskError) {
            try directory.write(name, secret)
        } catch {
            throw KeyVaultError("\(directory.path)/\(name) can't be written: \(error.words)")
        }
    }
}
