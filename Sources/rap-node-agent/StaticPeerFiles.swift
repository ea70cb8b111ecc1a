internal import ArgumentParser
internal import FabricCommand
internal import FabricCore
internal import FabricNode
internal import FabricWire
internal import Glibc

/// What `--static-peers` names.
enum StaticPeerFiles {
    static func read(
        _ options: [String], domains: [RoutingDomainID], underlay: [Endpoint]
    ) throws -> [StaticPeers] {
        var all: [StaticPeers] = []
        for option in options { all.append(try read(option)) }
        do throws(StaticPeersError) { try StaticPeers.check(all, domains: domains, underlay: underlay) } catch {
            throw ValidationError("--static-peers: \(error)")
        }
        return all
    }

    private static func read(_ option: String) throws -> StaticPeers {
        let parts = option.split(separator: "=", maxSplits: 1).map(String.init)
        guard parts.count == 2, let domain = RoutingDomainID(parts[0]) else {
            throw ValidationError("--static-peers: “\(option)” is not DOMAIN=FILE, such as fabric=/etc/rap/peers.conf")
        }
        let file = parts[1]
        let contents = try InputFile.read(file, limit: WireGuardConfiguration.maximumBytes)
        let configuration: WireGuardConfiguration
        do throws(WireGuardConfigurationError) { configuration = try WireGuardConfiguration(parsing: contents) } catch {
            throw ValidationError("--static-peers: \(file):\(error.line): \(error.what)")
        }
        guard !configuration.holdsSecrets || !isOpenToOthers(file) else {
            throw ValidationError(
                "--static-peers: \(file) holds a PresharedKey and is open to others: chmod 600 \(file)")
        }
        return StaticPeers(domain: domain, file: file, configuration: configuration)
    }

    private static func isOpenToOthers(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) != 0 || status.st_mode & 0o077 != 0
    }
}
