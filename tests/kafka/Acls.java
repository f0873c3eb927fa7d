// Permits a user something on a cluster that permits nothing by itself, and prints nothing.
//
// Arguments: bootstrap.servers, user, then TYPE NAME OPERATION for each right, as in `TOPIC orders READ`. Run from its
// source: java -cp 'jars/*' Acls.java ...

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;

public class Acls {
    public static void main(String[] args) throws Exception {
        List<AclBinding> acls = new ArrayList<>();
        for (int at = 2; at + 2 < args.length; at += 3) {
            ResourceType type = ResourceType.fromString(args[at]);
            ResourcePattern resource = new ResourcePattern(type, args[at + 1], PatternType.LITERAL);
            AclOperation operation = AclOperation.fromString(args[at + 2]);
            acls.add(new AclBinding(resource,
                new AccessControlEntry("User:" + args[1], "*", operation, AclPermissionType.ALLOW)));
        }
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", args[0]))) {
            admin.createAcls(acls).all().get();
        }
    }
}
